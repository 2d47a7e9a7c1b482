"""`python -m isdm`, which launchers such as `torchrun -m isdm` need."""

from isdm.cli import main

if __name__ == "__main__":
    main()
