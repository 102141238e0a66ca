"""Rooms. Each function draws on the canvas and returns the horizon (the wall's foot) as a fraction of the side."""

from __future__ import annotations

from ovgsr.sketch.place_canvas import PlaceCanvas


def _window(canvas: PlaceCanvas, left: float, top: float, width: float, height: float, sky: str) -> None:
    frame = canvas.colour("#fbf8f0")
    canvas.area(left, top, left + width, top + height, frame)
    glass = canvas.colour(sky, 6)
    middle_x, middle_y = left + width / 2, top + height / 2
    for x1, x2 in ((left + 0.012, middle_x - 0.006), (middle_x + 0.006, left + width - 0.012)):
        for y1, y2 in ((top + 0.012, middle_y - 0.006), (middle_y + 0.006, top + height - 0.012)):
            canvas.area(x1, y1, x2, y2, glass)


def _curtains(canvas: PlaceCanvas, left: float, top: float, width: float, height: float, cloth: str) -> None:
    colour, fold = canvas.colour(cloth, 10), canvas.colour("#8a7a86")
    for start, end in ((left - 0.05, left + width * 0.22), (left + width * 0.78, left + width + 0.05)):
        canvas.shape([(start, top), (end, top), (end - 0.01, top + height), (start, top + height)], colour)
    canvas.stroke([(left - 0.07, top), (left + width + 0.07, top)], fold, 0.014)


def _planks(canvas: PlaceCanvas, horizon: float, wood: str, seam: str) -> None:
    canvas.area(0, horizon, 1, 1, canvas.colour(wood, 8))
    colour, shift = canvas.colour(seam), canvas.between(0, 0.2)
    y, depth = horizon + 0.05, 0.05
    while y < 1:
        canvas.stroke([(0, y), (1, y)], colour, 0.006)
        x = (shift + y * 7.3) % 0.37
        while x < 1:
            canvas.stroke([(x, y), (x, y + depth)], colour, 0.006)
            x += 0.37
        depth *= 1.18
        y += depth


def _skirting(canvas: PlaceCanvas, horizon: float, hex_colour: str) -> None:
    canvas.area(0, horizon - 0.022, 1, horizon, canvas.colour(hex_colour))


def kitchen(canvas: PlaceCanvas) -> float:
    """Wall tiles, hanging cupboards, a window over a worktop with a tap, a chequered floor."""
    horizon = canvas.between(0.57, 0.63)
    canvas.area(0, 0, 1, horizon, canvas.colour("#e8f0ee", 5))
    grout = canvas.colour("#c4d4d2")
    for index in range(1, 13):
        canvas.stroke([(index / 12, 0.0), (index / 12, horizon)], grout, 0.005)
        if index < 8:
            canvas.stroke([(0, index / 12), (1, index / 12)], grout, 0.005)
    door = canvas.rng.choice(("#7fa6a0", "#d0a878", "#a8b4c8", "#cf9a8c"))
    opening = canvas.rng.choice((0.06, 0.36, 0.66))
    for index in range(6):
        left = index / 6
        if left + 1 / 6 > opening - 0.02 and left < opening + 0.3:
            continue
        canvas.area(left, 0.0, left + 1 / 6 - 0.01, 0.22, canvas.colour(door, 5))
        canvas.area(left + 0.06, 0.18, left + 0.1, 0.19, canvas.colour("#f4efe4"))
    _window(canvas, opening, 0.05, 0.27, 0.23, "#aadcf2")
    top = horizon - 0.2
    canvas.area(0, top, 1, top + 0.025, canvas.colour("#8c7a6c", 6))
    canvas.area(0, top + 0.025, 1, horizon, canvas.colour(door, 5))
    for index in range(1, 5):
        canvas.area(index / 4 - 0.006, top + 0.025, index / 4 + 0.002, horizon, canvas.colour("#6f6660"))
        canvas.area(index / 4 - 0.16, top + 0.05, index / 4 - 0.1, top + 0.062, canvas.colour("#f4efe4"))
    tap, steel = opening + 0.13, canvas.colour("#8f9aa4")
    canvas.stroke([(tap, top), (tap, top - 0.09), (tap + 0.05, top - 0.09), (tap + 0.05, top - 0.06)], steel, 0.014)
    canvas.area(0, horizon, 1, 1, canvas.colour("#f1ede4", 4))
    tile, depth, y = canvas.colour("#b9c9c9", 6), 0.05, horizon
    for row in range(6):
        for column in range(-1, 9):
            if (row + column) % 2 == 0:
                spread = 1 + row * 0.16
                x1, x2 = 0.5 + (column - 4) * 0.14 * spread, 0.5 + (column - 3) * 0.14 * spread
                widen = (spread + 0.16) / spread
                canvas.shape(
                    [(x1, y), (x2, y), (0.5 + (x2 - 0.5) * widen, y + depth), (0.5 + (x1 - 0.5) * widen, y + depth)],
                    tile,
                )
        y += depth
        depth *= 1.25
    return horizon


def living_room(canvas: PlaceCanvas) -> float:
    """Striped wallpaper, a bookcase, a curtained window, a standard lamp, a rug on floorboards."""
    horizon = canvas.between(0.58, 0.64)
    canvas.area(0, 0, 1, horizon, canvas.colour("#f0d8b4", 8))
    stripe = canvas.colour("#e6c698", 5)
    for index in range(9):
        canvas.area(index / 9, 0, index / 9 + 0.05, horizon, stripe)
    flip = canvas.rng.random() < 0.5
    shelf = 0.03 if flip else 0.67
    canvas.area(shelf, 0.12, shelf + 0.3, horizon, canvas.colour("#8a5c3c", 8))
    backs = ("#b0524a", "#4f7aa0", "#d8b25a", "#5f8f6a", "#8a6aa0")
    for row in range(3):
        top = 0.145 + row * 0.145
        canvas.area(shelf + 0.02, top, shelf + 0.28, top + 0.12, canvas.colour("#5f3f2a"))
        x = shelf + 0.025
        while x < shelf + 0.24:
            width = canvas.between(0.018, 0.034)
            canvas.area(
                x,
                top + canvas.between(0.01, 0.045),
                x + width,
                top + 0.12,
                canvas.colour(backs[canvas.rng.randrange(5)], 8),
            )
            x += width + 0.006
    window = 0.5 if flip else 0.14
    _window(canvas, window, 0.08, 0.32, 0.3, "#bfe4f4")
    _curtains(canvas, window, 0.06, 0.32, 0.38, canvas.rng.choice(("#c0605a", "#6f8f6a", "#c89a4a")))
    lamp, shade = (0.42 if flip else 0.56), canvas.colour("#ffe6a0", 6)
    canvas.stroke([(lamp, horizon), (lamp, 0.3)], canvas.colour("#6a5a50"), 0.014)
    canvas.shape([(lamp - 0.06, 0.32), (lamp - 0.035, 0.21), (lamp + 0.035, 0.21), (lamp + 0.06, 0.32)], shade)
    _skirting(canvas, horizon, "#f8f0e0")
    _planks(canvas, horizon, "#c9965e", "#a87844")
    rug = canvas.rng.choice(("#a8484a", "#4a6a8c", "#6a8a5a"))
    canvas.disc(0.5, 0.87, 0.4, canvas.colour(rug, 8), 0.1)
    canvas.disc(0.5, 0.87, 0.34, canvas.colour("#e8d8b8"), 0.08)
    canvas.disc(0.5, 0.87, 0.31, canvas.colour(rug, 8), 0.068)
    return horizon


def classroom(canvas: PlaceCanvas) -> float:
    """A large blackboard with chalk writing, a clock, a row of letters, school desks along the wall."""
    horizon = canvas.between(0.58, 0.64)
    canvas.area(0, 0, 1, horizon, canvas.colour("#eee6c8", 6))
    canvas.area(0, horizon - 0.16, 1, horizon, canvas.colour("#c8d4b4", 5))
    left = canvas.between(0.1, 0.18)
    right = left + canvas.between(0.6, 0.66)
    canvas.area(left - 0.02, 0.1, right + 0.02, 0.43, canvas.colour("#a87a48", 6))
    canvas.area(left, 0.12, right, 0.41, canvas.colour("#2f6048", 6))
    chalk = canvas.colour("#e8efe6")
    for row in range(3):
        x, y = left + 0.05, 0.17 + row * 0.07
        while x < left + canvas.between(0.26, 0.4):
            width = canvas.between(0.02, 0.06)
            canvas.stroke([(x, y), (x + width * 0.5, y - 0.012), (x + width, y)], chalk, 0.007)
            x += width + 0.02
    figure = right - 0.12
    canvas.stroke([(figure - 0.06, 0.34), (figure, 0.2), (figure + 0.07, 0.34), (figure - 0.06, 0.34)], chalk, 0.007)
    canvas.area(left + 0.05, 0.43, right - 0.05, 0.445, canvas.colour("#8a6238"))
    clock = 0.92 if right < 0.86 else 0.05
    canvas.disc(clock, 0.14, 0.05, canvas.colour("#5a5f68"))
    canvas.disc(clock, 0.14, 0.04, canvas.colour("#fdfdfa"))
    canvas.stroke([(clock, 0.14), (clock, 0.112)], canvas.colour("#333338"), 0.007)
    canvas.stroke([(clock, 0.14), (clock + 0.02, 0.145)], canvas.colour("#333338"), 0.007)
    cards = ("#e0665a", "#5a9ad0", "#e8bf4c", "#6fb070")
    for index in range(9):
        x = 0.1 + index * 0.09
        canvas.area(x, 0.025, x + 0.06, 0.075, canvas.colour(cards[index % 4], 6))
    canvas.area(0, horizon, 1, 1, canvas.colour("#cdb48c", 6))
    for index in range(7):
        canvas.stroke(
            [(0.5 + (index - 3) * 0.16, horizon), (0.5 + (index - 3) * 0.34, 1)], canvas.colour("#b79c72"), 0.006
        )
    desk, leg = canvas.colour("#d49a58", 6), canvas.colour("#7a808a")
    for x in (0.02, 0.8):
        canvas.area(x, horizon - 0.1, x + 0.18, horizon - 0.075, desk)
        canvas.stroke([(x + 0.02, horizon - 0.075), (x + 0.02, horizon + 0.02)], leg, 0.012)
        canvas.stroke([(x + 0.16, horizon - 0.075), (x + 0.16, horizon + 0.02)], leg, 0.012)
    return horizon


def bedroom(canvas: PlaceCanvas) -> float:
    """Dotted wallpaper, a night window with moon and stars, a wardrobe, a bedside table with a lamp."""
    horizon = canvas.between(0.58, 0.64)
    wall, dot = canvas.rng.choice((("#c4c8ea", "#aab0de"), ("#e6c4dc", "#d8a8c8"), ("#bcdce0", "#9cc8d0")))
    canvas.area(0, 0, 1, horizon, canvas.colour(wall, 5))
    spot = canvas.colour(dot)
    canvas.dots(
        [
            ((column + (row % 2) * 0.5) / 12 + 0.02, row / 14 + 0.03)
            for row in range(9)
            for column in range(12)
            if row / 14 + 0.03 < horizon - 0.04
        ],
        spot,
    )
    flip = canvas.rng.random() < 0.5
    window = 0.1 if flip else 0.56
    _window(canvas, window, 0.09, 0.32, 0.28, "#2f3f74")
    moon = window + canvas.between(0.1, 0.125)
    canvas.disc(moon, 0.155, 0.03, canvas.colour("#fdf2b8"))
    canvas.disc(moon - 0.014, 0.148, 0.026, canvas.colour("#2f3f74"))
    canvas.dots(
        [(window + 0.19, 0.14), (window + 0.22, 0.2), (window + 0.1, 0.29), (window + 0.2, 0.31)],
        canvas.colour("#fdf6d8"),
    )
    _curtains(canvas, window, 0.07, 0.32, 0.34, canvas.rng.choice(("#7a6ab4", "#c0709a", "#5a8ab0")))
    wardrobe = 0.66 if flip else 0.04
    canvas.area(wardrobe, 0.06, wardrobe + 0.3, horizon, canvas.colour("#f4ece0", 6))
    canvas.area(wardrobe - 0.01, 0.04, wardrobe + 0.31, 0.07, canvas.colour("#d4c4ac"))
    seam = canvas.colour("#b8a88e")
    canvas.area(wardrobe + 0.146, 0.07, wardrobe + 0.154, horizon - 0.03, seam)
    for x in (wardrobe + 0.12, wardrobe + 0.17):
        canvas.area(x, 0.3, x + 0.012, 0.37, seam)
    table = 0.46 if flip else 0.42
    canvas.area(table, horizon - 0.13, table + 0.12, horizon, canvas.colour("#a87850", 6))
    canvas.area(table + 0.03, horizon - 0.09, table + 0.09, horizon - 0.08, canvas.colour("#e8d0a8"))
    canvas.stroke([(table + 0.06, horizon - 0.13), (table + 0.06, horizon - 0.19)], canvas.colour("#6a6070"), 0.012)
    canvas.shape(
        [
            (table + 0.015, horizon - 0.18),
            (table + 0.035, horizon - 0.25),
            (table + 0.085, horizon - 0.25),
            (table + 0.105, horizon - 0.18),
        ],
        canvas.colour("#ffdf9a"),
    )
    _skirting(canvas, horizon, "#faf6f2")
    canvas.area(0, horizon, 1, 1, canvas.colour("#b7a4b8", 8))
    pile = canvas.colour("#a491a8")
    canvas.dots([(canvas.between(0, 1), canvas.between(horizon + 0.02, 1)) for _ in range(40)], pile)
    canvas.disc(0.5, 0.9, 0.28, canvas.colour("#f2e8f2"), 0.07)
    return horizon


def garage(canvas: PlaceCanvas) -> float:
    """A roller shutter, a tool board, a shelf with cans and a tyre, a concrete floor with an oil stain."""
    horizon = canvas.between(0.57, 0.63)
    canvas.area(0, 0, 1, horizon, canvas.colour("#b4b4b0", 6))
    joint = canvas.colour("#a0a09c")
    for row in range(8):
        y = row * 0.08
        canvas.stroke([(0, y), (1, y)], joint, 0.006)
    flip = canvas.rng.random() < 0.5
    shutter = 0.36 if flip else 0.04
    canvas.area(shutter - 0.02, 0.06, shutter + 0.62, horizon, canvas.colour("#5f6670"))
    canvas.area(shutter, 0.09, shutter + 0.6, horizon, canvas.colour("#d2d8de", 6))
    slat, y = canvas.colour("#a4adb6"), 0.13
    while y < horizon:
        canvas.area(shutter, y, shutter + 0.6, y + 0.012, slat)
        y += 0.05
    board = 0.03 if flip else 0.7
    canvas.area(board, 0.08, board + 0.27, 0.32, canvas.colour("#b98f5c", 8))
    steel, grip = canvas.colour("#5f6872"), canvas.colour("#c04a3c")
    for index in range(4):
        x, length = board + 0.04 + index * 0.063, canvas.between(0.09, 0.15)
        canvas.stroke([(x, 0.12), (x, 0.12 + length)], grip if index % 2 else steel, 0.016)
        canvas.area(x - 0.02, 0.11, x + 0.02, 0.135, steel)
    canvas.area(board, 0.42, board + 0.27, 0.435, canvas.colour("#6a5a48"))
    for index in range(3):
        can = canvas.colour(("#d0a040", "#4f7fa8", "#a84f48", "#5f9a6a")[canvas.rng.randrange(4)], 8)
        x = board + 0.03 + index * 0.075
        canvas.area(x, 0.36, x + 0.05, 0.42, can)
        canvas.area(x, 0.38, x + 0.05, 0.395, canvas.colour("#eeeae0"))
    tyre = board + canvas.between(0.08, 0.18)
    canvas.disc(tyre, horizon - 0.05, 0.06, canvas.colour("#3d3f44"))
    canvas.disc(tyre, horizon - 0.05, 0.03, canvas.colour("#9aa0a8"))
    canvas.area(0, horizon, 1, 1, canvas.colour("#8f8f8c", 6))
    canvas.shape([(0, 0.9), (1, 0.84), (1, 0.865), (0, 0.93)], canvas.colour("#d8b844"))
    stain = canvas.between(0.2, 0.8)
    canvas.disc(stain, 0.8, 0.13, canvas.colour("#6f6f6e"), 0.035)
    canvas.disc(stain + 0.05, 0.82, 0.07, canvas.colour("#626264"), 0.02)
    return horizon
