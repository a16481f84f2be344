"""Assembly and configuration: one module per program. Decides nothing; wires what decides to what does.

May import every role below it. The platform is passed in: no program here can reach a simulated one.
"""
