"""The replicated state machine, the engines that order its transactions, and the reader that serves what they made."""
