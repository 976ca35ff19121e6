"""A page on this machine that follows a folder: files are solved as they arrive, trends and reports grow."""
