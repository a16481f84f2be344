"""The replicated state machine, the engines that order its transactions, and the reader that serves what they made.

`rules` and `map` decide, `engines` order bytes, and neither half knows the other: `application` joins them. Holds no
secret: it reaches `custody.public`, never `custody.secret` or `sealing`.
"""
