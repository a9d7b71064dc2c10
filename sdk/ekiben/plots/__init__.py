"""Pictures for notebooks and reports, drawn by matplotlib: without it nothing here can be imported."""

from ekiben._optional import require

require("matplotlib", to="draw a picture")
