"""What is attached to an image in its registry: what is in it, where it came from, who signed it.

Nothing here changes the image or its digest. Documents are pure functions of what the image holds and was made of, so
that equal builds get equal documents.
"""
