"""Say what the working directory has, and what its numbers are together."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from adder import total

print("files:", *sorted(str(path) for path in Path().rglob("*") if path.is_file()))
print(f"total: {total(Path(sys.argv[1]))} by {os.environ['VERB']}")
