"""Reads an existing project and names its mistakes. Reads files only: nothing of a project is imported, run or loaded.

`project` reads a folder within limits, `rules` holds one declaration a mistake, `examine` joins the two, `mending` does
what can be mended without a question of taste. What a rule cannot know from the files, it does not claim.
"""
