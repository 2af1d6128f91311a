"""Pictures that statistical checks draw, in ``build/pictures``, to see what was compared."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[2] / "build" / "pictures"

Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def draw_curves(name: str, title: str, x_label: str, y_label: str, curves: dict[str, Curve]) -> Path:
    """Draw curves over one pair of axes.

    Parameters
    ----------
    name
        Of the file, without its ending.
    title, x_label, y_label
        Texts.
    curves
        Points (x, y) by the text of the legend.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for text, (x, y) in curves.items():
        axes.plot(x, y, label=text, linewidth=1.2)
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    axes.legend()
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.svg"
    figure.savefig(path)
    return path
