# SPDX-License-Identifier: LGPL-2.1-or-later
"""The things that the model learns to name: emoji as textoverlay draws them.

Of look-alikes only one is listed (one ape, one train, one clock), since a thing may be 40 pixels across; nothing with
letters on it, no hearts, and no plain geometry, which would contradict the shapes.
"""

import re

import numpy as np
from PIL import Image

from rendering import draw_text

EMOJI_TEST = '/usr/share/unicode/emoji/emoji-test.txt'
FONT = 'Noto Color Emoji 150'
SIDE = 96
MARGIN = 1
CANVAS = 320

# Said in captions; "said=name in emoji-test.txt" where a shorter or commoner word is said than Unicode's.
THINGS = """
dog=dog face, cat=cat face, mouse=mouse face, rabbit=rabbit face, fox, bear, panda, koala, tiger=tiger face, lion,
cow=cow face, pig=pig face, frog, monkey=monkey face, gorilla, wolf, raccoon, horse=horse face, unicorn, zebra,
deer, goat, sheep=ewe, camel, llama, giraffe, elephant, rhino=rhinoceros, hippo=hippopotamus, squirrel=chipmunk,
beaver, hedgehog, bat, sloth, otter, kangaroo, turkey, chicken, rooster, chick=hatching chick, bird, penguin,
eagle, duck, swan, owl, flamingo, peacock, parrot, crocodile, turtle, lizard, snake, dragon=dragon face,
dinosaur=sauropod, whale=spouting whale, dolphin, seal, fish=tropical fish, shark, octopus, shell=spiral shell,
snail, butterfly, caterpillar=bug, ant, bee=honeybee, ladybird=lady beetle, spider, scorpion, mosquito, crab,
lobster, shrimp, squid, feather, jellyfish, polar bear, bouquet, rose, sunflower, tulip, lotus, cherry blossom,
potted plant, pine tree=evergreen tree, tree=deciduous tree, palm tree, cactus, clover=four leaf clover,
maple leaf, mushroom, nest=nest with eggs, grape=grapes, watermelon, tangerine, lemon, banana, pineapple, mango,
apple=red apple, pear, peach, strawberry, cherry=cherries, kiwi=kiwi fruit, avocado, eggplant, carrot,
corn cob=ear of corn, pepper=hot pepper, cucumber, onion, peanut=peanuts, loaf=bread, croissant,
baguette=baguette bread, pretzel, pancake=pancakes, waffle, cheese=cheese wedge, steak=cut of meat,
burger=hamburger, pizza, hot dog, taco, egg=cooking, salad=green salad, ice cream=soft ice cream, doughnut, cookie,
cake=birthday cake, cupcake, pie, chocolate bar, candy, lollipop, honey pot, coffee cup=hot beverage, teapot,
wine glass, cocktail=cocktail glass, beer=beer mug, spoon, knife=kitchen knife, globe=globe showing Americas,
mountain=snow-capped mountain, volcano, island=desert island, house, castle, factory, tent, fountain, ferris wheel,
bus, ambulance, fire engine, police car, taxi, car=automobile, truck=delivery truck, tractor, motorcycle,
scooter=kick scooter, bicycle, train=locomotive, tram=tram car, helicopter, plane=airplane, rocket, satellite,
sailboat, ship, anchor, traffic light=vertical traffic light, skateboard, hourglass=hourglass done, watch,
alarm clock, thermometer, sun=sun with face, moon=crescent moon, planet=ringed planet, cloud, tornado, rainbow,
umbrella, snowflake, snowman=snowman without snow, fire, drop=droplet, wave=water wave, comet,
lightning bolt=high voltage, pumpkin=jack-o-lantern, christmas tree=Christmas tree, balloon, gift=wrapped gift,
trophy, medal=sports medal, football=soccer ball, baseball, basketball, tennis racket=tennis, boxing glove, kite,
gamepad=video game, dice=game die, puzzle piece, teddy bear, palette=artist palette, yarn, painting=framed picture,
target=bullseye, necktie, shirt=t-shirt, scarf, coat, sock=socks, dress, handbag, backpack, sneaker=running shoe,
boot=woman’s boot, crown, top hat, lipstick, gem=gem stone, bell, megaphone, microphone, radio, saxophone,
accordion, guitar, piano=musical keyboard, trumpet, violin, banjo, drum, phone=mobile phone, telephone, battery,
laptop, printer, camera, television, computer mouse, magnifying glass=magnifying glass tilted left, candle,
light bulb, torch=flashlight, book=closed book, newspaper, envelope, package, pencil, paintbrush, briefcase,
lock=locked, key, hammer, axe, bow=bow and arrow, shield, wrench, screwdriver, gear, magnet, ladder, test tube,
microscope, telescope, syringe, pill, door, bed, chair, sofa=couch and lamp, toilet, bathtub, broom, basket,
bucket, toothbrush, shopping cart, bomb, money bag, map=world map, brain, tooth, bone, eye, ear, nose, mouth,
hand=raised hand, robot, ghost, skull, alien, smiley=grinning face
"""


def read_emoji() -> dict:
    """{Unicode's name: the characters}, of those that are fully qualified."""
    line = re.compile(r'^(?P<codes>[0-9A-F ]+?) *; fully-qualified +# \S+ E[0-9.]+ (?P<name>.+)$')
    with open(EMOJI_TEST, encoding='utf-8') as lines:
        found = [match for match in map(line.match, lines) if match]
    return {match['name']: ''.join(chr(int(code, 16)) for code in match['codes'].split()) for match in found}


def list_things() -> dict:
    """{name said: the characters}, in the order of the table."""
    emoji = read_emoji()
    pairs = [entry.strip().partition('=') for entry in THINGS.replace('\n', ' ').split(',') if entry.strip()]
    return {said: emoji[name or said] for said, _, name in pairs}


def solve_alpha(on_black, on_white):
    """Premultiplied colour and alpha, float [h][w][4], of what was drawn over two known backgrounds."""
    black, white = on_black.astype(np.float32), on_white.astype(np.float32)
    alpha = np.clip(255 - (white - black).mean(2, keepdims=True), 0, 255)
    return np.concatenate([np.minimum(black, alpha), alpha], 2)


def fit_square(picture):
    """The drawn part, its longer side filling the square but for a margin; averaged while premultiplied."""
    rows, columns = np.where(picture[..., 3] > 8)
    part = picture[rows.min():rows.max() + 1, columns.min():columns.max() + 1]
    scale = (SIDE - 2 * MARGIN) / max(part.shape[:2])
    height, width = (max(1, round(side * scale)) for side in part.shape[:2])
    square = np.zeros((SIDE, SIDE, 4), np.float32)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    for channel in range(4):
        plane = Image.fromarray(part[..., channel]).resize((width, height), Image.Resampling.BOX)
        square[top:top + height, left:left + width, channel] = np.asarray(plane)
    return square


def straighten(square):
    """uint8, colour not multiplied by alpha."""
    alpha = square[..., 3:]
    colour = np.where(alpha > 0.5, square[..., :3] * 255 / np.maximum(alpha, 0.5), 0)
    return np.clip(np.rint(np.concatenate([colour, alpha], 2)), 0, 255).astype(np.uint8)


def draw_square(premultiplied):
    return straighten(fit_square(premultiplied))


def draw_thing(characters, options):
    over = [draw_text(characters, FONT, CANVAS, CANVAS, background, f'xpad=40 ypos=0.5 {options}') for background in (0, 255)]
    return draw_square(solve_alpha(*over))


def make_things() -> dict:
    """images: without shadow and outline. drawn: as textoverlay draws unless told otherwise, a shifted second copy below
    (its shadow of coloured glyphs has their colours) and scraps of outline."""
    things = list_things()
    clean = [draw_thing(characters, 'draw-shadow=false draw-outline=false') for characters in things.values()]
    drawn = [draw_thing(characters, '') for characters in things.values()]
    return {'images': np.stack(clean), 'drawn': np.stack(drawn), 'names': np.array(list(things))}
