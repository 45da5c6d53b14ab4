"""`python -m limner` is the command `limner`; torchrun starts it this way: torchrun --nproc-per-node 2 -m limner train ..."""

from limner.cli.app import main

if __name__ == "__main__":
    main()
