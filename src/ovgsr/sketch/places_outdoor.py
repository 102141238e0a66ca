"""Places in the open air. Each function draws on the canvas and returns the horizon as a fraction of the side."""

from __future__ import annotations

from ovgsr.sketch.place_canvas import PlaceCanvas


def _round_tree(canvas: PlaceCanvas, x: float, foot: float, height: float, crown: str) -> None:
    trunk = canvas.colour("#7d5a3a", 8)
    canvas.area(x - height * 0.06, foot - height * 0.5, x + height * 0.06, foot, trunk)
    leaves = canvas.colour(crown, 14)
    canvas.disc(x - height * 0.18, foot - height * 0.6, height * 0.22, leaves)
    canvas.disc(x + height * 0.18, foot - height * 0.6, height * 0.22, leaves)
    canvas.disc(x, foot - height * 0.78, height * 0.24, leaves)


def _fir(canvas: PlaceCanvas, x: float, foot: float, height: float, green: str, cap: str = "") -> None:
    colour = canvas.colour(green, 10)
    canvas.area(x - height * 0.05, foot - height * 0.14, x + height * 0.05, foot, canvas.colour("#5a4230"))
    for level in range(3):
        bottom = foot - height * (0.1 + 0.26 * level)
        half, top = height * (0.28 - 0.06 * level), bottom - height * 0.38
        canvas.shape([(x - half, bottom), (x, top), (x + half, bottom)], colour)
        if cap:
            canvas.shape(
                [
                    (x - half * 0.5, bottom - height * 0.19),
                    (x, top),
                    (x + half * 0.5, bottom - height * 0.19),
                    (x, bottom - height * 0.13),
                ],
                canvas.colour(cap),
            )


def _tufts(canvas: PlaceCanvas, count: int, top: float, hex_colour: str) -> None:
    colour = canvas.colour(hex_colour, 8)
    for _ in range(count):
        x, y = canvas.between(0, 1), canvas.between(top, 0.99)
        canvas.stroke([(x - 0.015, y - 0.018), (x, y), (x + 0.015, y - 0.018)], colour, 0.006)


def park(canvas: PlaceCanvas) -> float:
    """Mown lawn, a winding path, round trees, a lamp post."""
    horizon = canvas.between(0.52, 0.6)
    canvas.bands(0, horizon, "#9fd3f2", "#dff1fa")
    canvas.clouds(2, 0.22)
    hedge = canvas.colour("#7fb069", 8)
    for index in range(8):
        canvas.disc(index / 7, horizon, canvas.between(0.07, 0.11), hedge)
    canvas.area(0, horizon, 1, 1, canvas.colour("#92cc6a", 10))
    bend = canvas.between(0.3, 0.7)
    path = canvas.colour("#dcc9a0", 8)
    canvas.shape(
        [
            (bend - 0.03, horizon),
            (bend + 0.03, horizon),
            (bend - 0.08, horizon + 0.16),
            (bend + 0.34, 1),
            (bend - 0.1, 1),
            (bend - 0.22, horizon + 0.17),
        ],
        path,
    )
    for side in (canvas.between(0.03, 0.2), canvas.between(0.8, 0.97)):
        _round_tree(canvas, side, horizon + 0.03, canvas.between(0.36, 0.48), "#5f9d4e")
    lamp, post = canvas.between(0.3, 0.7), canvas.colour("#4d5560")
    canvas.stroke([(lamp, horizon + 0.03), (lamp, horizon - 0.26)], post, 0.012)
    canvas.disc(lamp, horizon - 0.28, 0.025, canvas.colour("#fff3c0"))
    _tufts(canvas, 6, horizon + 0.06, "#76b350")
    return horizon


def beach(canvas: PlaceCanvas) -> float:
    """Sea with a sail, foam along the sand, a palm tree."""
    shore = canvas.between(0.54, 0.62)
    sea = shore - canvas.between(0.14, 0.2)
    canvas.bands(0, sea, "#7fcbf2", "#e4f6fb")
    canvas.sun()
    canvas.bands(sea, shore, "#2f8fc6", "#5cc3dc", 4)
    sail = canvas.between(0.3, 0.85)
    canvas.shape([(sail, sea - 0.09), (sail, sea), (sail + 0.06, sea)], canvas.colour("#fdfdf8"))
    canvas.shape(
        [(sail - 0.04, sea), (sail + 0.07, sea), (sail + 0.05, sea + 0.02), (sail - 0.02, sea + 0.02)],
        canvas.colour("#b5523a"),
    )
    canvas.area(0, shore, 1, 1, canvas.colour("#f0d9a0", 8))
    foam = canvas.colour("#f8fcff")
    for index in range(9):
        canvas.disc(index / 8, shore, 0.075, foam, canvas.between(0.008, 0.02))
    for _ in range(4):
        x, y = canvas.between(0, 0.9), canvas.between(sea + 0.02, shore - 0.03)
        canvas.stroke([(x, y), (x + 0.07, y)], canvas.colour("#c9ecf5"), 0.007)
    palm = canvas.rng.choice((0.07, 0.93))
    lean = 0.05 if palm < 0.5 else -0.05
    trunk, leaf = canvas.colour("#9a7448", 8), canvas.colour("#4fa05a", 10)
    canvas.stroke([(palm, shore + 0.05), (palm + lean, shore - 0.32)], trunk, 0.028)
    top = (palm + lean, shore - 0.33)
    for dx, dy in ((-0.15, 0.05), (-0.12, -0.07), (0.0, -0.11), (0.12, -0.07), (0.15, 0.05)):
        canvas.shape(
            [(top[0] - 0.01, top[1] - 0.025), (top[0] + dx, top[1] + dy), (top[0] + 0.01, top[1] + 0.03)], leaf
        )
    canvas.dots([(canvas.between(0, 1), canvas.between(shore + 0.05, 1)) for _ in range(24)], canvas.colour("#d4b878"))
    return shore


def street(canvas: PlaceCanvas) -> float:
    """House fronts with windows, a pavement, an asphalt road with a dashed line."""
    horizon = canvas.between(0.54, 0.62)
    canvas.bands(0, horizon, "#b4cfe2", "#e4ecf0")
    left = -canvas.between(0, 0.1)
    walls = ["#c9a48c", "#a9b3bd", "#d3c3a2", "#b98d84", "#9fb0a5"]
    canvas.rng.shuffle(walls)
    for wall in walls:
        width, top = canvas.between(0.2, 0.28), canvas.between(0.04, 0.24)
        canvas.area(left, top, left + width, horizon, canvas.colour(wall, 8))
        canvas.area(left, top, left + width, top + 0.02, canvas.colour("#8a7f7a"))
        glass = canvas.colour("#fbe7a6" if canvas.rng.random() < 0.25 else "#6f8aa3")
        for row in range(3):
            y = top + 0.06 + row * 0.11
            if y + 0.07 < horizon - 0.04:
                for column in range(2):
                    x = left + width * (0.16 + 0.42 * column)
                    canvas.area(x, y, x + width * 0.26, y + 0.065, glass)
        left += width
    kerb = horizon + canvas.between(0.08, 0.12)
    canvas.area(0, horizon, 1, kerb, canvas.colour("#c8c6c1", 6))
    canvas.area(0, kerb, 1, kerb + 0.016, canvas.colour("#9d9b97"))
    canvas.area(0, kerb + 0.016, 1, 1, canvas.colour("#6d7078", 6))
    middle, shift = (kerb + 1) / 2 + 0.02, canvas.between(0, 0.2)
    for index in range(-1, 5):
        x = index * 0.25 + shift
        canvas.shape(
            [(x, middle), (x + 0.13, middle), (x + 0.12, middle + 0.025), (x - 0.01, middle + 0.025)],
            canvas.colour("#f3f1e6"),
        )
    return horizon


def garden(canvas: PlaceCanvas) -> float:
    """A clipped hedge, beds of coloured flowers in brown earth, a house corner with a red roof."""
    horizon = canvas.between(0.53, 0.6)
    canvas.bands(0, horizon, "#b5e0f0", "#eaf6ee")
    canvas.clouds(1, 0.2)
    house = canvas.rng.choice((-0.12, 0.7))
    canvas.area(house, 0.2, house + 0.42, horizon, canvas.colour("#efe3cc", 8))
    canvas.shape([(house - 0.05, 0.22), (house + 0.21, 0.02), (house + 0.47, 0.22)], canvas.colour("#b9674f", 10))
    canvas.area(house + 0.15, 0.28, house + 0.27, 0.4, canvas.colour("#86aec4"))
    canvas.area(0, horizon - 0.12, 1, horizon, canvas.colour("#5f9a50", 8))
    canvas.dots(
        [(canvas.between(0, 1), canvas.between(horizon - 0.11, horizon - 0.02)) for _ in range(24)],
        canvas.colour("#7fb868"),
    )
    canvas.area(0, horizon, 1, 1, canvas.colour("#a3d472", 8))
    for top, depth, count in ((horizon + 0.01, 0.055, 13), (0.9, 0.1, 12)):
        canvas.area(0, top, 1, top + depth, canvas.colour("#8b6547", 6))
        for index in range(count):
            x, y = (index + canvas.between(0.2, 0.8)) / count, top + canvas.between(0.0, depth * 0.4)
            canvas.stroke([(x, y + 0.03), (x, y)], canvas.colour("#4d8a42"), 0.008)
            petal = canvas.rng.choice(("#ea6f8f", "#f6d24f", "#f4f0fa", "#b684d8", "#ef8a4c"))
            canvas.disc(x, y, 0.017, canvas.colour(petal))
            canvas.disc(x, y, 0.006, canvas.colour("#f9f2c4"))
    return horizon


def forest(canvas: PlaceCanvas) -> float:
    """Tall trunks and firs in green dusk, ferns on dark ground."""
    horizon = canvas.between(0.55, 0.63)
    canvas.bands(0, horizon, "#a9cf9c", "#5f8f66")
    for _ in range(7):
        _fir(canvas, canvas.between(0, 1), horizon + 0.01, canvas.between(0.3, 0.5), "#47775a")
    canvas.area(0, horizon, 1, 1, canvas.colour("#6b7a45", 8))
    canvas.shape(
        [(0, 0), (1, 0), (1, 0.1), (0.8, 0.15), (0.62, 0.08), (0.4, 0.16), (0.2, 0.09), (0, 0.14)],
        canvas.colour("#3d6b45", 8),
    )
    for index in range(5):
        x, foot = (index + canvas.between(0.15, 0.85)) / 5, horizon + canvas.between(0.0, 0.07)
        half, bark = canvas.between(0.02, 0.04), canvas.colour("#66503c", 10)
        canvas.shape([(x - half, 0), (x + half, 0), (x + half * 1.4, foot), (x - half * 1.4, foot)], bark)
        canvas.stroke([(x + half * 0.3, 0.12), (x + half * 0.3, foot - 0.08)], canvas.colour("#544030"), 0.008)
    for _ in range(7):
        x, y, fern = canvas.between(0, 1), canvas.between(horizon + 0.06, 0.98), canvas.colour("#4f8f4c", 12)
        for dx in (-0.035, -0.015, 0.015, 0.035):
            canvas.stroke([(x, y), (x + dx, y - 0.04 + abs(dx) * 0.4)], fern, 0.008)
    return horizon


def field(canvas: PlaceCanvas) -> float:
    """Furrows of a wheat field that meet at a far point, round bales, a red barn."""
    horizon = canvas.between(0.5, 0.57)
    canvas.bands(0, horizon, "#a8d4ee", "#f2f0dc")
    canvas.clouds(2, 0.24)
    for x, radius in ((canvas.between(0, 0.4), 0.4), (canvas.between(0.6, 1), 0.34)):
        canvas.disc(x, horizon + 0.02, radius, canvas.colour("#a9c178", 10), canvas.between(0.06, 0.12))
    barn = canvas.between(0.08, 0.76)
    canvas.area(barn, horizon - 0.11, barn + 0.15, horizon, canvas.colour("#b0493c", 8))
    canvas.shape(
        [
            (barn - 0.015, horizon - 0.11),
            (barn + 0.03, horizon - 0.17),
            (barn + 0.12, horizon - 0.17),
            (barn + 0.165, horizon - 0.11),
        ],
        canvas.colour("#7d6a68"),
    )
    canvas.area(barn + 0.05, horizon - 0.07, barn + 0.1, horizon, canvas.colour("#f0e6d8"))
    canvas.area(0, horizon, 1, 1, canvas.colour("#e6c968", 8))
    vanishing, furrow = canvas.between(0.35, 0.65), canvas.colour("#c9a548", 6)
    for index in range(-6, 7):
        foot = vanishing + index * 0.2
        canvas.shape([(vanishing + index * 0.035, horizon), (foot + 0.035, 1), (foot - 0.035, 1)], furrow)
    for _ in range(3):
        x, y = canvas.between(0.02, 0.98), horizon + canvas.between(0.015, 0.05)
        canvas.disc(x, y, 0.04, canvas.colour("#d4ac52", 6))
        canvas.disc(x, y, 0.02, canvas.colour("#b98f3c", 6))
    return horizon


def stadium(canvas: PlaceCanvas) -> float:
    """Stands full of coloured spectators, an advertising board, a striped pitch with white lines."""
    horizon = canvas.between(0.55, 0.61)
    canvas.bands(0, 0.1, "#a9cbe6", "#d6e6f2", 3)
    top = canvas.between(0.06, 0.12)
    canvas.area(0, top, 1, horizon, canvas.colour("#767c8c", 6))
    shirts = [canvas.colour(shade, 10) for shade in ("#e8e6e0", "#d66a5e", "#6a8fd0", "#ecd27a", "#8a6a8c", "#7fb08a")]
    rows = 8
    for row in range(rows):
        y = top + 0.03 + row * (horizon - 0.08 - top) / rows
        for column in range(20):
            x = (column + (row % 2) * 0.5 + canvas.between(0.1, 0.4)) / 20
            canvas.disc(x, y, 0.014, shirts[canvas.rng.randrange(len(shirts))])
    for stair in (0.25, 0.75):
        canvas.area(stair - 0.012, top, stair + 0.012, horizon, canvas.colour("#a3a8b4"))
    canvas.area(0, horizon - 0.045, 1, horizon, canvas.colour(canvas.rng.choice(("#2f5fa8", "#b33d3d", "#2f7d6a"))))
    for index in range(5):
        canvas.area(index * 0.2 + 0.04, horizon - 0.032, index * 0.2 + 0.15, horizon - 0.014, canvas.colour("#f2f2f2"))
    greens = (canvas.colour("#6cb45a", 6), canvas.colour("#7fc468", 6))
    canvas.area(0, horizon, 1, 1, greens[0])
    for index in range(-3, 4, 2):
        canvas.shape(
            [
                (0.5 + index * 0.14 - 0.07, horizon),
                (0.5 + index * 0.14 + 0.07, horizon),
                (0.5 + index * 0.26 + 0.13, 1),
                (0.5 + index * 0.26 - 0.13, 1),
            ],
            greens[1],
        )
    line = canvas.colour("#f4f8f0")
    canvas.area(0, horizon + 0.03, 1, horizon + 0.042, line)
    canvas.stroke([(0.3, 1), (0.36, 0.9), (0.64, 0.9), (0.7, 1)], line, 0.012)
    return horizon


def snow(canvas: PlaceCanvas) -> float:
    """Snow-capped mountains, firs under snow, white ground, falling flakes."""
    horizon = canvas.between(0.54, 0.62)
    canvas.bands(0, horizon, "#9db8d2", "#dde8f2")
    for x, height in (
        (canvas.between(0, 0.35), 0.4),
        (canvas.between(0.65, 1), 0.44),
        (canvas.between(0.35, 0.65), 0.3),
    ):
        peak, half = horizon - height + canvas.between(0, 0.08), canvas.between(0.26, 0.36)
        canvas.shape([(x - half, horizon), (x, peak), (x + half, horizon)], canvas.colour("#8496ae", 8))
        cap = (horizon - peak) * 0.4
        edge = half * 0.4
        canvas.shape(
            [
                (x - edge, peak + cap),
                (x, peak),
                (x + edge, peak + cap),
                (x + edge * 0.4, peak + cap * 0.75),
                (x, peak + cap * 1.1),
                (x - edge * 0.4, peak + cap * 0.75),
            ],
            canvas.colour("#f6f9fd"),
        )
    canvas.area(0, horizon, 1, 1, canvas.colour("#eef3fa", 4))
    for x in (canvas.between(0.02, 0.15), canvas.between(0.85, 0.98), canvas.between(0.2, 0.8)):
        _fir(canvas, x, horizon + 0.02, canvas.between(0.2, 0.34), "#4f7d6c", "#f4f8fc")
    for _ in range(4):
        canvas.disc(canvas.between(0, 1), canvas.between(horizon + 0.1, 1), 0.16, canvas.colour("#dbe5f1"), 0.012)
    flakes = [(canvas.between(0, 1), canvas.between(0, 1)) for _ in range(50)]
    canvas.dots(flakes, canvas.colour("#ffffff"))
    return horizon


def river(canvas: PlaceCanvas) -> float:
    """Flowing water up to the far bank with reeds, stepping stones and wavelets."""
    horizon = canvas.between(0.5, 0.57)
    canvas.bands(0, horizon, "#b9dff2", "#eef6f0")
    for x in (canvas.between(0, 0.3), canvas.between(0.35, 0.65), canvas.between(0.7, 1)):
        canvas.disc(x, horizon, canvas.between(0.2, 0.3), canvas.colour("#7aa968", 12), canvas.between(0.1, 0.2))
    bank = canvas.colour("#8fb961", 8)
    canvas.area(0, horizon - 0.05, 1, horizon + 0.01, bank)
    canvas.area(0, horizon + 0.01, 1, horizon + 0.024, canvas.colour("#94764f"))
    canvas.bands(horizon + 0.024, 1, "#4f9fd0", "#3f86bd", 5)
    pale = canvas.colour("#b9e2f2")
    for _ in range(16):
        x, y, width = canvas.between(-0.05, 0.95), canvas.between(horizon + 0.05, 0.99), canvas.between(0.03, 0.06)
        canvas.stroke([(x, y + 0.008), (x + width * 0.5, y), (x + width, y + 0.008), (x + width * 1.5, y)], pale, 0.007)
    for _ in range(3):
        x, y = canvas.between(0.05, 0.95), canvas.between(horizon + 0.08, 0.96)
        canvas.disc(x, y, 0.04, canvas.colour("#7f8790", 8), 0.02)
        canvas.disc(x - 0.008, y - 0.006, 0.025, canvas.colour("#a2a9b0", 6), 0.01)
    for side in (canvas.between(0.01, 0.12), canvas.between(0.88, 0.99)):
        reed, head = canvas.colour("#5f8f45", 10), canvas.colour("#7d5533")
        for index in range(4):
            x, top = side + (index - 1.5) * 0.022, horizon - canvas.between(0.08, 0.17)
            canvas.stroke([(x, horizon + 0.05), (x + 0.008, top)], reed, 0.009)
            canvas.disc(x + 0.008, top, 0.009, head, 0.025)
    return horizon


def desert(canvas: PlaceCanvas) -> float:
    """Dunes with shaded sides under a large sun, a mesa, a far saguaro."""
    horizon = canvas.between(0.5, 0.58)
    canvas.bands(0, horizon, "#f2b872", "#fbe9c0")
    canvas.sun("#fff2b8", 0.09)
    mesa = canvas.between(0.1, 0.7)
    rock = canvas.colour("#c98258", 10)
    canvas.shape(
        [(mesa - 0.05, horizon), (mesa, horizon - 0.16), (mesa + 0.16, horizon - 0.16), (mesa + 0.22, horizon)], rock
    )
    canvas.area(0, horizon, 1, 1, canvas.colour("#ecc47a", 8))
    for _ in range(3):
        x, y, width = canvas.between(0, 1), canvas.between(horizon + 0.03, 0.92), canvas.between(0.3, 0.5)
        height = canvas.between(0.06, 0.11)
        canvas.shape([(x - width, y), (x, y - height), (x + width * 0.7, y)], canvas.colour("#f4d592", 6))
        canvas.shape([(x, y - height), (x + width * 0.7, y), (x + width * 0.1, y)], canvas.colour("#d9a95e", 6))
    green = canvas.colour("#7f9a5a", 8)
    for x in (canvas.between(0.04, 0.3), canvas.between(0.7, 0.96)):
        foot, top = horizon + 0.03, horizon - canvas.between(0.14, 0.2)
        canvas.stroke([(x, foot), (x, top)], green, 0.026)
        canvas.stroke([(x - 0.045, top + 0.04), (x - 0.045, top + 0.09), (x, top + 0.09)], green, 0.018)
        canvas.stroke([(x, top + 0.12), (x + 0.045, top + 0.12), (x + 0.045, top + 0.06)], green, 0.018)
    canvas.dots(
        [(canvas.between(0, 1), canvas.between(horizon + 0.05, 1)) for _ in range(16)], canvas.colour("#c9954e")
    )
    return horizon


def market(canvas: PlaceCanvas) -> float:
    """Stalls under striped awnings, counters heaped with fruit, paving stones."""
    horizon = canvas.between(0.56, 0.63)
    canvas.bands(0, horizon, "#cfe2ec", "#f1ece0")
    shift = -canvas.between(0, 0.25)
    stripes = ["#cf4f46", "#4f9a62", "#4a7fbd", "#d99a36"]
    canvas.rng.shuffle(stripes)
    cream, wood = canvas.colour("#f7f0e2"), canvas.colour("#a07850", 8)
    for stall in range(3):
        left, width = shift + stall * 0.46, 0.42
        awning, dark = canvas.colour(stripes[stall], 8), canvas.colour("#8c7f78", 6)
        canvas.area(left + 0.02, 0.24, left + width - 0.02, horizon - 0.1, dark)
        for index in range(6):
            x1, x2 = left + index * width / 6, left + (index + 1) * width / 6
            shade = awning if index % 2 == 0 else cream
            canvas.shape(
                [
                    (x1 * 0.94 + (left + width / 2) * 0.06, 0.1),
                    (x2 * 0.94 + (left + width / 2) * 0.06, 0.1),
                    (x2, 0.26),
                    (x1, 0.26),
                ],
                shade,
            )
            canvas.disc((x1 + x2) / 2, 0.26, width / 12, shade, 0.025)
        for post in (left + 0.02, left + width - 0.02):
            canvas.stroke([(post, 0.26), (post, horizon)], wood, 0.012)
        fruits = ["#dc5a4a", "#ecab3c", "#7fae4c", "#a8568c", "#f0d45c"]
        canvas.rng.shuffle(fruits)
        for crate in range(3):
            heap = canvas.colour(fruits[crate], 8)
            for index in range(4):
                x = left + 0.05 + crate * 0.115 + index * 0.028
                canvas.disc(x, horizon - 0.115 - (0.014 if index in (1, 2) else 0), 0.018, heap)
        canvas.area(left + 0.01, horizon - 0.1, left + width - 0.01, horizon, wood)
        canvas.area(left + 0.01, horizon - 0.1, left + width - 0.01, horizon - 0.085, canvas.colour("#c89c6c"))
    canvas.area(0, horizon, 1, 1, canvas.colour("#c3b8a8", 6))
    joint = canvas.colour("#a89d8e")
    for row in range(5):
        y = horizon + 0.05 + row * 0.085
        canvas.stroke([(0, y), (1, y)], joint, 0.006)
        for column in range(6):
            x = (column + (row % 2) * 0.5) / 6
            canvas.stroke([(x, y), (x, y + 0.085)], joint, 0.006)
    return horizon
