"""``python -m csi_powerflex`` is the same as ``csi-powerflex``."""

from csi_powerflex.cli.main import main

if __name__ == "__main__":
    main()
