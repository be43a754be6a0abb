"""Random surface colour without image files: layers of coloured tiles, bars, splits and ovals on an integer lattice.

Every shape and colour is a hash of the surface, the layer and the lattice cell, so the pattern never repeats and no
part of it can be guessed from the rest: what a hidden patch looks like is known only from another view of the place.
Layers get finer by a constant factor, and a layer fades out where its cells come near the size of a pixel, so that
close and far views both show detail and neither shows noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muskie.streams import stream

COLOURS = 64
"""Colours of a surface's palette; a power of two, for they are picked by bits of a hash."""

MAIN_COLOURS = 40
"""How many of them are shades of the main colour."""

LAYERS = 6
"""Layers of cells at most; fewer where they would be finer than a pixel."""

FINER = 2.1
"""The cells of a layer are smaller than those of the one before by this factor, and turned by `TURN` radians."""

TURN = 0.9

FAINTER = 0.8
"""A layer covers what is below it by this power of its number: coarse structure survives under fine detail."""

_SHAPES = 256
_STYLES = ("tile", "oval", "bar", "split")


@dataclass(frozen=True)
class Surfaces:
    """The textures of S surfaces.

    Attributes:
        seed: uint32 [S], what the hash of a surface starts from.
        lattice: float32 [2, S], (cos, sin) of the turn of its lattice times the cells per metre of layer 0.
        style: intp [S], its row of the table of shapes.
        palette: float32 [3, S * COLOURS], linear RGB albedo in [0, 1].
    """

    seed: np.ndarray
    lattice: np.ndarray
    style: np.ndarray
    palette: np.ndarray


def make_surfaces(rng: np.random.Generator, sizes: np.ndarray, things: np.ndarray) -> Surfaces:
    """Draws the textures of S surfaces.

    Args:
        rng: draws.
        sizes: float [S], metres, how large the thing is that a surface belongs to; small things get smaller cells.
        things: intp [S], below S, which thing that is; its surfaces have a main colour in common.
    """
    count, free = len(sizes), COLOURS - MAIN_COLOURS
    # Most of a palette is shades of the main colour, the rest is free: things differ and still hold every colour.
    main = rng.uniform(0.2, 1.0, (count, 1, 3))[things] * rng.uniform(0.15, 1.4, (count, MAIN_COLOURS, 1))
    main += rng.normal(0.0, 0.06, main.shape)
    other = rng.uniform(0.05, 1.0, (count, free, 3))
    grey = other.mean(axis=2, keepdims=True)
    other = grey + rng.uniform(0.4, 1.0, (count, 1, 1)) * (other - grey)
    # The square undoes the eye's square root: steps of colour look alike in the dark and in the light.
    palette = np.clip(np.concatenate([main, other], axis=1), 0.08, 1.0) ** 2
    frequency, turn = rng.uniform(1.4, 2.4, count) / np.clip(sizes, 0.4, 2.0), rng.uniform(0.0, 2.0 * np.pi, count)
    return Surfaces(
        seed=rng.integers(0, 2**32, count, dtype=np.uint32),
        lattice=(frequency * np.stack([np.cos(turn), np.sin(turn)])).astype(np.float32),
        style=rng.integers(0, len(_STYLES), count),
        palette=np.ascontiguousarray(palette.reshape(-1, 3).T, dtype=np.float32),
    )


def albedo(surfaces: Surfaces, surface: np.ndarray, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """The colour of points on surfaces.

    Args:
        surfaces: the textures.
        surface: intp [P], which of them.
        u: float32 [P], first surface coordinate in metres.
        v: float32 [P], second one.
        footprint: float32 [P], metres of the surface that one pixel covers.

    Returns:
        float32 [3, P], linear RGB in [0, 1].
    """
    cos, sin = surfaces.lattice.take(surface, axis=1)
    x, y = cos * u + sin * v, cos * v - sin * u
    footprint = footprint * np.sqrt(cos * cos + sin * sin)
    seed, style, colours = surfaces.seed.take(surface), surfaces.style.take(surface) * _SHAPES, surface * COLOURS

    low, high = surfaces.palette.take(colours, axis=1), surfaces.palette.take(colours + MAIN_COLOURS, axis=1)
    colour = low + (high - low) * _clouds(x, y, seed)
    turn_cos, turn_sin = np.float32(FINER * np.cos(TURN)), np.float32(FINER * np.sin(TURN))
    where = np.arange(len(x))
    for layer in range(LAYERS):
        visible = np.flatnonzero(footprint < 0.5)
        if len(visible) < len(x):
            x, y, footprint, seed, style, colours, where = (
                a.take(visible) for a in (x, y, footprint, seed, style, colours, where)
            )
        if not len(x):
            break
        cover, pick = _cells(x, y, seed, style, footprint)
        # A layer is whole where its cells span four pixels and gone where they span two.
        cover *= np.minimum(np.float32(2.0) - np.float32(4.0) * footprint, np.float32(1.0)) * np.float32(FAINTER**layer)
        paint = surfaces.palette.take(colours + pick, axis=1)
        if len(where) == colour.shape[1]:
            colour += (paint - colour) * cover
        else:
            # By rows: NumPy scatters into one axis several times faster than into two.
            for below, above in zip(colour, paint, strict=True):
                old = below.take(where)
                below[where] = old + (above - old) * cover
        x, y = turn_cos * x + turn_sin * y + np.float32(7.3), turn_cos * y - turn_sin * x + np.float32(3.1)
        footprint = footprint * np.float32(FINER)
        seed = seed + np.uint32(0x51ED270B)
    return colour


def _hash(ix: np.ndarray, iy: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """Thirty-two well mixed bits per lattice point, uint32 [P]."""
    bits = ix.view(np.uint32) * np.uint32(0x9E3779B1)
    bits += iy.view(np.uint32) * np.uint32(0x85EBCA77)
    bits += seed
    bits ^= bits >> np.uint32(16)
    bits *= np.uint32(0x7FEB352D)
    bits ^= bits >> np.uint32(15)
    bits *= np.uint32(0x846CA68B)
    bits ^= bits >> np.uint32(16)
    return bits


def _clouds(x: np.ndarray, y: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """Smooth noise in [0, 1] with a value per lattice point, float32 [P]."""
    floor_x, floor_y = np.floor(x), np.floor(y)
    ix, iy = floor_x.astype(np.int32), floor_y.astype(np.int32)
    fx, fy = x - floor_x, y - floor_y
    fx *= fx * (np.float32(3.0) - np.float32(2.0) * fx)
    fy *= fy * (np.float32(3.0) - np.float32(2.0) * fy)
    a, b, c, d = (_hash(ix + i, iy + j, seed).astype(np.float32) for j in (0, 1) for i in (0, 1))
    top, bottom = a + (b - a) * fx, c + (d - c) * fx
    return (top + (bottom - top) * fy) * np.float32(2.0**-32)


def _make_shapes() -> np.ndarray:
    """The table of shapes, float32 [7, styles * _SHAPES]: r, ax, ay, a0, bx, by, b0 in cells, cell centre at 0.

    A point (x, y) of a cell is inside where |(ax x + ay y + a0, bx x + by y + b0)| < r. So a shape with a and b of unit
    length is a disc, with b = 0 a bar, with a = b = 0 a whole tile, and with r < 0 nothing.
    """
    rng = stream(0, "shapes of room textures")
    table = np.zeros((7, len(_STYLES), _SHAPES), dtype=np.float32)
    for row, favourite in enumerate(_STYLES):
        for column in range(_SHAPES):
            kind = favourite if rng.random() < 0.7 else _STYLES[int(rng.integers(len(_STYLES)))]
            turn, radius = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.2, 0.48)
            a, b = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
            shift = (0.5 - radius) * rng.uniform(-1.0, 1.0, 2)
            if rng.random() < 0.2:
                table[0, row, column] = -9.0
            elif kind == "tile":
                table[0, row, column] = 9.0
            elif kind == "oval":
                a *= rng.uniform(1.0, 2.0)
                table[:, row, column] = radius, *a, -a @ shift, *b, -b @ shift
            elif kind == "bar":
                radius = rng.uniform(0.08, 0.2)
                table[:4, row, column] = radius, *a, rng.uniform(-0.3, 0.3)
            else:
                # A bar so wide that only one of its sides lies in the cell.
                table[:4, row, column] = 2.0, *a, 2.0 + rng.uniform(-0.2, 0.2)
    return table.reshape(7, -1)


_TABLE = _make_shapes()


def _cells(
    x: np.ndarray, y: np.ndarray, seed: np.ndarray, style: np.ndarray, footprint: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How much of a pixel the shape of its cell covers, float32 [P] in [0, 1], and its colour, intp [P] < COLOURS."""
    half = np.float32(0.5)
    floor_x, floor_y = np.floor(x), np.floor(y)
    bits = _hash(floor_x.astype(np.int32), floor_y.astype(np.int32), seed).astype(np.intp)
    x, y = x - floor_x - half, y - floor_y - half
    radius, ax, ay, a0, bx, by, b0 = _TABLE.take(style + (bits & (_SHAPES - 1)), axis=1)
    a, b = ax * x + ay * y + a0, bx * x + by * y + b0
    inside = radius - np.sqrt(a * a + b * b)
    # No shape crosses the border of its cell, and an edge is as soft as a pixel is wide.
    inside = np.minimum(inside, half - np.maximum(np.abs(x), np.abs(y)))
    cover = np.minimum(np.maximum(inside / footprint + half, np.float32(0.0)), np.float32(1.0))
    return cover, bits >> 20 & (COLOURS - 1)
