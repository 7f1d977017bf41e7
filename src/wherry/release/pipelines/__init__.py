"""What trains a model again and delivers it, as the files of those who run it: the same steps, each one command."""
