"""How the images are built; `../build.py` is the program."""
