"""``python -m authguard``."""

from authguard.cli import main

raise SystemExit(main())
