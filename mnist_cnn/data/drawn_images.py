"""Images drawn by rule, in MNIST's format, that a recipe adds to each batch: what is no digit, and digits MNIST lacks.

Trained on digits alone, a network is sure of nearly everything. Images without a digit, with the same label for every
class, teach it to be unsure (Hendrycks et al. 2019, "Deep Anomaly Detection with Outlier Exposure", arXiv:1812.04606).
"""

from typing import List, Tuple

import numpy as np

# The number of images of each kind.
NUM_DIGITS = 1200
NUM_GLYPHS = 3400
NUM_SHAPES = 1275
NUM_STROKES = 850
NUM_SPOTS = 425
NUM_MIXED = 850

# In these tables, each word is a stroke: "l" for straight lines through points, "c" for a curve of quadratic
# Béziers, whose every second point is a control point. A point is its x and y in 0..8.

# Digits as many people write them, and as MNIST hardly has them: class and strokes.
_DIGITS = [
    (1, "l145048"),  # with a long flag
    (1, "l325058"),
    (1, "l235058 l3878"),  # with a flag and a foot
    (1, "l4048 l2868"),  # with a foot
    (1, "l155058"),
    (2, "c12204070635628081716273778"),  # looped
    (3, "l106033 c33737578381816"),  # with a flat top
    (4, "l200575 l5258"),  # open
    (4, "l500575 l5058"),  # closed
    (4, "l500575 l5058 l3868"),  # with a foot
    (7, "l107038 l3474"),  # with a bar
    (9, "c6260402022244464627718"),  # with a hooked tail
    (0, "c407074784818141040 l6127"),  # with a slash
]
# Letters and symbols that cannot be mistaken for a digit.
_GLYPHS = [
    "l084088 l2565",  # A
    "c8100040887",  # C
    "l80000888 l0464",  # E
    "l800008 l0464",  # F
    "c8100040887 l878454",  # G
    "l0008 l8088 l0484",  # H
    "l6065 c6568380806",  # J
    "l3070 l5055 c555828",  # J with a serif
    "l0008 l8004 l0488",  # K
    "l000888",  # L
    "l0800448088",  # M
    "l08008880",  # N
    "l0008 c0080828505",  # P
    "l0008 c0080828505 l4588",  # R
    "l0080 l4048",  # T
    "l0004 c0408488884 l8480",  # U
    "l004880",  # V
    "l0028446880",  # W
    "l0088 l8008",  # X
    "l0044 l8044 l4448",  # Y
    "c757848181512427275 l7278",  # a
    "c2322427275 c74242628487876 l7378",  # a with two storeys
    "c757848181512427275 l7078",  # d
    "l1575 c757242121518486877",  # e
    "c704043 l4348 l2363",  # f
    "l0008 c0503438385 l8588",  # h
    "l5256 c565828 l5051",  # j
    "l1018 l7315 l3578",  # k
    "l0208 c0402224244 l4448 c4442628284 l8488",  # m
    "l1218 c1412427274 l7478",  # n
    "l1018 c407073764616131040",  # p
    "l2228 c242262",  # r
    "l4046 c464878 l1373",  # t
    "l1215 c1518487875 l7278",  # u
    "l1145 l7128",  # y
    "l4147 l1474",  # +
    "l3018 l7058 l0383 l0585",  # #
    "l4048 l1276 l7216",  # *
    "c12104080727445 l4748",  # ?
    "c122040706263544445 l4848",  # ? with a shorter stem
    "l50303858",  # [ of another width
    "l30505838",  # ] of another width
    "c408084884808040040 c254765",  # smiling face without eyes
    "c848848080400408084 c646646262422426264 l6466",  # @
    "l8008 c212212020100102021 c878878686766768687",  # %
    "l60202868",  # [
    "l20606828",  # ]
    "l711477",  # <
    "l117417",  # >
    "l0080 l2028 l6068",  # pi
    "l80004408 l0888",  # sigma
    "l40088840",  # triangle
    "l401883037840",  # star
    "l043880",  # check mark
    "l518457 l0484",  # arrow
    "l310437 l0484",  # arrow to the left
    "l144074 l4048",  # arrow up
    "l144874 l4048",  # arrow down
    "c72714111121444747677471716 l4048",  # $
    "c426264664626242242 c61604020222324 c27284868666564",  # section sign
    "l7040 l7078 l5058 c4010121444 l4454",  # pilcrow
    "l1838 c380503004080838558 l5878",  # omega
    "c4462728284867666442212020406162644",  # infinity
    "c408084884808040040 c254765 l3233 l5253",  # smiling face
    "c408084884808040040 l4044 l4464",  # clock
    "c408084884808040040 c6333343565",  # copyright sign
    "c306063663606030030 l5588",  # magnifying glass
    "l004480 l4448 l1474 l1676",  # yen
    "c8100040887 l0353 l0555",  # euro
    "c713034 l3438 l1878 l1454",  # pound
    "l8822 c2220406062442508386875",  # &
    "c604042442444464868",  # {
    "c202042446444464828",  # }
    "c0521446783",  # ~
    "l1373 l1575",  # =
    "l1373 l1575 l6228",  # not equal
    "l0484 l4142 l4647",  # division sign
    "l4046 l1373 l1878",  # plus or minus
    "l0525486080",  # root
    "c42402000020448848280604042",  # heart
    "l080080",  # gamma
    "l084088",  # lambda
    "c0007478780 l4048",  # psi
    "l00088880 l4048",  # sha
    "l0088 l8008 l4048",  # zhe
    "l00088088",  # i
    "l8088 c8000020485 l4508",  # ya
    "l4048 l2262",  # dagger
    "l400408888440",  # house
]
_Y, _X = np.mgrid[:28, :28].astype(np.float32)[..., np.newaxis] + np.float32(0.5)


def draw_images(images: np.ndarray, labels: np.ndarray, seed: int) -> Tuple[np.ndarray, np.ndarray]:
    """Draws images without a digit, and digits, deterministic in the arguments.

    Args:
      images: uint8 [n, 28, 28, 1], of digits.
      labels: int [n] in 0..9.
      seed: an int in 0..2³²-1.

    Returns:
      images: uint8 [about 8,000, 28, 28, 1].
      labels: float32 [about 8,000, 10]: one-hot for a digit, otherwise 0.1 for each class.
    """
    random = np.random.RandomState([seed, 0, 2**31 + 2])
    digits = [(digit_class, _parse_strokes(glyph)) for digit_class, glyph in _DIGITS]
    glyphs = [_parse_strokes(glyph) for glyph in _GLYPHS]
    chosen = [digits[random.randint(len(digits))] for _ in range(NUM_DIGITS)]
    drawn = [_draw(_distort(strokes, random), random) for _, strokes in chosen]
    drawn += [_draw(_distort(glyphs[random.randint(len(glyphs))], random), random) for _ in range(NUM_GLYPHS)]
    drawn += [_draw_shape(random) for _ in range(NUM_SHAPES)]
    drawn += [_draw(_make_random_strokes(random), random) for _ in range(NUM_STROKES)]
    drawn += [_draw_spots(random) for _ in range(NUM_SPOTS)]
    drawn += _mix_digits(images[..., 0], labels, NUM_MIXED, random)
    drawn_labels = np.full([len(drawn), 10], 0.1, np.float32)
    drawn_labels[:NUM_DIGITS] = np.eye(10)[[digit_class for digit_class, _ in chosen]]
    return np.array(drawn)[..., np.newaxis], drawn_labels


def _parse_strokes(glyph: str) -> List[np.ndarray]:
    """Returns the points of each stroke of a glyph in one of the tables, float [n, 2]."""
    return [_parse_stroke(word) for word in glyph.split()]


def _parse_stroke(word: str) -> np.ndarray:
    points = np.array([int(digit) for digit in word[1:]], float).reshape(-1, 2)
    if word[0] == "l":
        return points
    return np.concatenate([_bezier(*points[start : start + 3]) for start in range(0, len(points) - 2, 2)])


def _bezier(start: np.ndarray, control: np.ndarray, end: np.ndarray) -> np.ndarray:
    t = np.linspace(0, 1, 7)[:, np.newaxis]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end


def _distort(strokes: List[np.ndarray], random: np.random.RandomState) -> List[np.ndarray]:
    angle, width, slant = np.radians(random.uniform(-12, 12)), random.uniform(0.55, 1.15), random.uniform(-0.25, 0.25)
    cos, sin = np.cos(angle), np.sin(angle)
    transform = np.array([[cos, sin], [-sin, cos]]) @ [[width, 0], [slant, 1]]
    return [(stroke + random.normal(0, 0.25, [1, 2])) @ transform for stroke in strokes]


def _make_random_strokes(random: np.random.RandomState) -> List[np.ndarray]:
    """Returns three to five connected or separate lines and curves."""
    strokes: List[np.ndarray] = []
    for _ in range(random.randint(3, 6)):
        start, end = random.uniform(0, 8, [2, 2])
        if strokes and random.uniform() < 0.6:
            start = strokes[-1][-1]
        bend = random.normal(0, 3, 2) if random.uniform() < 0.5 else 0
        strokes.append(_bezier(start, (start + end) / 2 + bend, end))
    return strokes


def _draw(strokes: List[np.ndarray], random: np.random.RandomState) -> np.ndarray:
    """Draws strokes in MNIST's format, uint8 [28, 28]: 20 pixels long, with the centre of mass in the middle."""
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    width = random.uniform(1.5, 3.8)
    scale = (20 - width) / (high - low).max()
    starts, ends = (
        (np.concatenate([stroke[part] for stroke in strokes]) - (low + high) / 2) * scale + 14
        for part in (slice(None, -1), slice(1, None))
    )
    (dx, dy), (x, y) = (ends - starts).T.astype(np.float32), starts.T.astype(np.float32)
    # The nearest point of each segment to each pixel.
    t = np.clip(((_X - x) * dx + (_Y - y) * dy) / np.maximum(dx**2 + dy**2, 1e-6), 0, 1)
    distance = np.sqrt(((_X - x - t * dx) ** 2 + (_Y - y - t * dy) ** 2).min(axis=-1))
    return _center((np.clip(width / 2 - distance + 0.5, 0, 1) * 255).astype(np.uint8))


def _draw_spots(random: np.random.RandomState) -> np.ndarray:
    """Draws the bright parts of a sum of random waves, uint8 [28, 28], as photos of anything look in MNIST's format."""
    waves = [np.cos(random.normal(0, 0.3, 2) @ [_X[..., 0].ravel(), _Y[..., 0].ravel()] + phase) for phase in range(6)]
    field = np.sum(waves, axis=0).reshape(28, 28)[4:24, 4:24]
    levels = np.clip((field - np.percentile(field, random.uniform(50, 85))) * 2, 0, 1)
    return _center(np.pad((levels * 255).astype(np.uint8), 4))


def _draw_shape(random: np.random.RandomState) -> np.ndarray:
    """Draws a filled ellipse or rectangle, cut by up to three straight lines, uint8 [28, 28], plain or grained.

    It is at least 15 pixels long, and too wide for a 1.
    """
    x, y = _X[..., 0] - 14, _Y[..., 0] - 14
    while True:
        half_width = 10 * np.sqrt(random.uniform(0.12, 1))
        angle = random.uniform(0, np.pi)
        u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        if random.uniform() < 0.5:
            inside = np.minimum(8 - abs(u), 0.8 * half_width - abs(v))  # the distance from the outline
        else:
            inside = (1 - np.sqrt((u / 10) ** 2 + (v / half_width) ** 2)) * half_width
        for _ in range(random.randint(4)):
            angle = random.uniform(0, 2 * np.pi)
            inside = np.minimum(inside, random.uniform(-2, 8) - np.cos(angle) * x - np.sin(angle) * y)
        width, height = (np.count_nonzero((inside > 0).any(axis=axis)) for axis in (0, 1))
        if max(width, height) >= 15 and width >= 0.45 * height:
            grain = random.uniform(0.5, 1, inside.shape) if random.uniform() < 0.5 else 1
            return _center((np.clip(inside + 0.5, 0, 1) * grain * 255).astype(np.uint8))


def _mix_digits(images: np.ndarray, labels: np.ndarray, n: int, random: np.random.RandomState) -> List[np.ndarray]:
    """Returns up to n images, uint8 [28, 28]: halves of two digits of different classes, turned and crossed ones."""
    mixed = []
    for first, second, kind, turn in zip(*random.randint(0, len(images), [2, n]), *random.randint(0, 4, [2, n])):
        one, other = images[first], images[second]
        turned = np.rot90(one, 1 + turn // 2 * 2)
        if turn % 2 and labels[first] not in (2, 5):  # their mirror images look like each other
            turned = one[:, ::-1]
        if kind == 0 and labels[first] != labels[second]:
            mixed.append(np.concatenate([one[:, :14], other[:, 14:]], axis=1))
        elif kind == 1 and labels[first] != labels[second]:
            mixed.append(np.concatenate([one[:14], other[14:]]))
        elif kind == 2 and labels[first] not in (0, 1, 8):  # which may look like digits
            mixed.append(turned)
        elif kind == 3:
            mixed.append(np.maximum(turned, other))
    return [_center(image) for image in mixed]


def _center(image: np.ndarray) -> np.ndarray:
    mass = max(image.sum(), 1)
    for axis in (0, 1):
        centre = (image.sum(axis=1 - axis) * np.arange(28)).sum() / mass
        image = np.roll(image, int(round(13.5 - centre)), axis)
    return image
