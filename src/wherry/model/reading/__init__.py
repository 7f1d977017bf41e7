"""What a model file is and holds, told from its bytes alone: nothing in here runs, imports or constructs any of it.

A file leaves the room in one way, through `vouch`, which decides whether it may be loaded.
"""
