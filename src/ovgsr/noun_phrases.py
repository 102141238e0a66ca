"""English around one noun: its article, whether it is a plural, and the preposition that it takes as a place.

Word lists and a few rules, no dictionary and no model: right for nearly all of SWiG's nouns, and a word that nobody
has foreseen still reads like plain English. A compound follows its head: ``orange juice`` follows ``juice``.
"""

from __future__ import annotations

import re

from ovgsr.situation import EMPTY_NOUN
from ovgsr.vocabulary import Vocabulary, swig_nouns


def word_set(text: str) -> frozenset[str]:
    """The words of a text, for the tables of this module and of the captions."""
    return frozenset(text.split())


READABLE = {
    "male child": "boy",
    "female child": "girl",
    "young buck": "young man",
    "homo": "human",
    "massager": "masseur",
    "ice bear": "polar bear",
    "domestic ass": "donkey",
    "dentition": "teeth",
    "apparel": "clothes",
    "metallic element": "metal",
    "cellular telephone": "cell phone",
    "plaything": "toy",
    "ashcan": "trash can",
    "dais": "podium",
    "gasoline station": "gas station",
    "livingroom suite": "living room",
    "menagerie": "zoo",
    "metro": "subway",
    "barroom": "bar",
    "dwelling": "home",
}
"""A synonym of the same synset, where the synset's first word is not the one that people say."""

MASS = word_set(
    "acid adhesive alcohol alfalfa algae aluminum ammunition anger antifreeze apparel applause applesauce archery "
    "art arthritis artillery artwork ash asparagus asphalt asthma athletics bacon badminton baggage bait bamboo "
    "basil beef beeswax blackjack blood bran brass bread breath broccoli broth brushwood bubblegum butane butter "
    "calcium calligraphy captivity cardboard cash catsup caulk caviar cayenne celery cement cereal chaff chalk "
    "champagne charcoal cheddar cheese chess chi chocolate cider cinnamon circuitry citrus clay cleanliness cloth "
    "clothing clover coal cocaine cocoa coffee coinage cologne communication compost concrete confetti confusion "
    "coral cork corn cornbread cotton cream crochet crockery croquet curd currency cutlery deadwood debris decay "
    "denim dentistry deodorant depression detergent dew diabetes dirt disgust dishwater dough driftwood drool "
    "drygoods drywall dust dye education electricity electronics empathy enamel energy equipment espresso eyesight "
    "evidence eyeliner eyeshadow fabric fame fat fatigue fear feed felt fencing fertilizer fiber fiberglass "
    "filler flax flesh flint flooring flour fluff fluid foam foil foliage food footwear freedom freon friction "
    "friendship frosting fruit frustration fu fuel fun fur furniture garbage garlic gas gasoline gauze gear gel "
    "gelatin gin ginger gingerbread glassware glitter glue gold golf graffiti grain granite granola grass gravel "
    "gravity gravy grease greenery grief grime grout guacamole gum gunfire gunpowder gymnastics hair happiness "
    "hardware hardwood hay health heat help hemp henna herbicide heroin hockey homework honey horsemanship hummus "
    "hydrogen ice incense influenza information ink insecticide insulation insulin irrigation ivory ivy jade jam "
    "jelly jerky jewelry joy judo juice jujutsu junk karaoke karate kerosene ketchup kibble kindling kleenex "
    "knitting lace lacquer lacrosse land lard latex laundry lava leather lemonade lettuce leverage limestone "
    "linen linoleum lint lipstick liquid liquor literature litter livestock lotion love lubricant luggage lumber "
    "macaroni machinery magic magma mail makeup manure margarine marijuana marinade mascara masonry material "
    "mathematics matter mayonnaise meat medicine merchandise metal methane mildew milk mint mist moisture "
    "molasses mold money mortar moss mucus mud mulch music mustard nectar netting news nicotine nothing "
    "nothingness nutrition nylon oatmeal oil ointment oregano oxygen paint pap paper paperboard paperwork parsley "
    "pasta paste pavement paving peat pepper pepsi perfume perspiration pesticide petfood petroleum photography "
    "plaster plastic playdough plexiglas plumbing plywood poison poker polish pollen pollution polo polyethylene "
    "popcorn porcelain pork porridge pottery poultry powder precipitation pride primer produce property "
    "protection pulp pumice pyrex raffia rain rainwater refuse relief resin retardant rice rosemary rouge "
    "roulette rowing rubber rubbish rubble rugby rum rust sadness sake saliva salsa salt sand sandpaper "
    "sanitation sap sauce sauerkraut sawdust scenery seafood sealant seasoning seawater seaweed sewage shale "
    "shampoo sheetrock shellfish shopping shrubbery siding silence silicone silk silt silver silverware skating "
    "skin slate slime sludge slush smoke snot snow soap soapsuds soccer soda software soil solder soot soup "
    "sourdough soy space spackle spaghetti spice spinach spit spray starch static stationery steam steel stew "
    "stucco stuff stuffing styrofoam substance sugar sunlight sunscreen sunset sunshine surprise sushi sweat "
    "syrup tape tar tarmacadam tea teamwork technology tennis texture thatch therapy timber tinsel tissue toast "
    "tobacco tofu toiletry toner toothpaste tow traffic training trash treacle turf twine underbrush underwear "
    "upholstery urine vanilla varnish vaseline vegetation velcro velvet venom vinegar vinyl violence vodka "
    "voltage wallpaper waste water wax weaponry weather wheat whey whiskey wicker wildlife wind wine wiring "
    "wisdom wood woodwork wool work worry worship yarn yeast yoga yogurt zucchini"
)
"""Nouns without an article in the singular."""

ACTIVITY_EXCEPTIONS = word_set(
    "awning bearing being boring building carving ceiling clearing coating covering crossing darling drawing "
    "duckling dumpling dwelling earring engraving etching evening filing filling fitting fling gathering greeting "
    "handwriting landing lining marking meeting molding morning offering opening painting pudding railing reading "
    "recording sapling seedling shilling sibling sling spring sterling sting stocking string swing thing topping "
    "viking wedding"
)
"""Things and events that end in -ing; every other such word (boxing, swimming) names an activity."""

PLURALS = word_set(
    "alumni bacteria cattle children clergy dice feet firemen geese homeless men mice oxen people personnel "
    "police policemen populace teeth vermin wolves women"
)

SINGULARS_IN_S = word_set(
    "atlas axis basis bias biceps canvas chaos chassis christmas chrysalis cos cosmos dais diagnosis epidermis "
    "gallows iris lens loris mantis pancreas paralysis pelvis penis proboscis quadriceps rhinoceros series "
    "species testis thermos trellis triceps"
)

DEFINITE = word_set(
    "air antarctic arctic atmosphere background badlands beatles bible bottom capitol colosseum congo countryside "
    "crowd dark darkness distance earth edge floor foreground front ganges ground horizon kremlin left louvre "
    "marines middle moon ocean outdoors philippines press rear right sahara sea seashore serengeti shore sky sun "
    "top torah universe vatican waterfront wilderness wind"
)

NO_ARTICLE = word_set(
    "downstairs downtown everyone here midair nobody self somebody someone something somewhere there unknown upstairs"
)

DETERMINERS = word_set(
    "a all an both each every few five four her his its many my no several some the their three two your"
)

COUNTED_NAMES = word_set(
    "Aborigine African Aid Angora Arab Asian Award Band Barber Bushman Catholic Chihuahua Clydesdale Cossack "
    "Cross Crown Doberman Dumpster Eskimo Frenchman Frisbee Highlander Humvee Jew Lego Marine Medal Menorah "
    "Mormon Muslim Muslimah Pekinese Pierrot Pot Protestant Pyramid Pyrenees Realtor Rollerblade Rottweiler Scot "
    "Scout Segway Sharpie Shih-Tzu Twinkie Viking Weimaraner"
)
NAMES_WITH_THE = word_set(
    "Administration Army Bridge Canyon Center Constitution Corps East Falls Games House Kingdom Klan Monument "
    "Nations Office Olympics Pyramids Sea States Strip System Tower Union Wall West Zone"
)
_DEMONYM = re.compile(r"(?:ican|American|Indian|talian|yptian|trean|ympian)$")

ADVERBS_OF_PLACE = {
    "outdoors": "outdoors",
    "outside": "outside",
    "inside": "indoors",
    "indoors": "indoors",
    "upstairs": "upstairs",
    "downstairs": "downstairs",
    "downtown": "downtown",
    "somewhere": "somewhere",
    "here": "here",
    "there": "there",
    "unknown": "in an unknown place",
    "home": "at home",
    "school": "at school",
    "land": "on land",
    "body of water": "in the water",
}

ON_PLACES = word_set(
    "airplane airstrip arm armchair asphalt balcony bank beach bed bench blanket board boardwalk boat branch "
    "bridge bus campus chair cliff coast coastline couch counter countertop court deck desk desktop diamond dock "
    "driveway dune earth escalator expressway face fairway farm farmland fence ferry floor ford grass green grill "
    "ground hand head highway hill hillside hilltop ice island lakeside land lawn ledge limb mat mattress moon "
    "mountain mountainside neck path pathway patio pavement pier plain planet plate platform playground plaza "
    "podium porch poster prairie raft railing ramp ranch recliner ridge riverbank road roadway roof rooftop rug "
    "run runway sailboat sand savanna screen seashore seaside shelf ship shore sidewalk skin sled slope snow sofa "
    "square stage stair staircase stairs stairway step steps stoop stove street surface surfboard swing table "
    "tabletop tarmac terrace towel track trail train trampoline tray tundra turf wall wharf yacht"
)
"""Heads of places that one is on; others one is in."""

AT_PLACES = word_set(
    "airport banquet bonfire bottom campfire carnival celebration ceremony cockfight commencement competition "
    "concert conference contest dinner event exhibition fair festival funeral game keyboard lookout match meeting "
    "overlook parade party picnic poker polls port protest race racetrack rally rodeo seaport show sink station "
    "stop terminal top tournament wake wedding window zoo"
)

_DEFINITE_PLACES = word_set("city country desert dirt grass ice jungle mud rain sand snow soil water")
_SPORTS_FIELD = re.compile(r"(?:football|playing|soccer|ball|baseball|sports|athletic|hockey|rugby|cricket) field$")
_AN = re.compile(r"(?:hour|honest|honor|heir)")
_A = re.compile(r"(?:uni(?!n|m)|use|usu|ute(?!r)|ura|uri|uro|uku|eu|ewe|one\b|one-|once|u-|ufo\b)")


def readable_word(key: str, vocabulary: Vocabulary) -> str:
    """The word that a person would say for a noun's key; ``""`` for the empty answer, the key itself if unknown."""
    if key == EMPTY_NOUN:
        return ""
    word = vocabulary.word(key)
    if word == key and re.fullmatch(r"n\d{8}", key):
        known = swig_nouns().get(key)
        word = known.gloss if known else key
    word = " ".join(word.replace("_", " ").split())
    return READABLE.get(word, word)


def head_word(noun: str) -> str:
    """The word that decides number and kind: the last one before a preposition or a comma."""
    front = re.split(r",| (?:of|in|on|for|with|at|to|and) ", noun.strip(), maxsplit=1)[0].split()
    return front[-1] if front else noun


def is_plural(noun: str) -> bool:
    """Whether a verb after this noun stands in the plural (``people``, ``scissors``, ``bacon and eggs``)."""
    head = head_word(noun)
    lower = head.lower()
    if lower in PLURALS or re.match(r"\S+ and \S+$", noun):
        return True
    if lower in SINGULARS_IN_S or lower in MASS or lower.endswith(("ss", "us", "ics", "itis")):
        return False
    return lower.endswith("s") and len(lower) > 2 and not _is_name(noun)


def is_mass(noun: str) -> bool:
    """Whether the noun goes without an article in the singular (``bread``, ``snow``, ``orange juice``)."""
    head = head_word(noun).lower()
    activity = head.endswith("ing") and len(head) > 5 and head not in ACTIVITY_EXCEPTIONS
    return head in MASS or head.endswith(("itis", "ics")) or activity


def plural_of(noun: str) -> str:
    """The noun for several of its kind: balls, boxes, berries, knives; bread and people stay."""
    head = head_word(noun)
    if is_plural(noun) or is_mass(noun):
        return noun
    irregular = {
        "man": "men",
        "woman": "women",
        "child": "children",
        "person": "people",
        "fish": "fish",
        "sheep": "sheep",
    }
    if head in irregular:
        plural = irregular[head]
    elif re.search(r"[^aeiou]y$", head):
        plural = f"{head[:-1]}ies"
    elif re.search(r"(?:kni|wi|li|lea|shel|wol|cal|hal)fe?$", head):
        plural = re.sub(r"fe?$", "ves", head)
    else:
        plural = f"{head}es" if re.search(r"(?:ch|sh|s|x|z|[^aeiou]o)$", head) else f"{head}s"
    return plural.join(noun.rsplit(head, 1)) if " of " not in noun else noun.replace(head, plural, 1)


def noun_phrase(noun: str) -> str:
    """The noun with the article of a first mention: a dog, an egg, bread, scissors, the sky, Paris."""
    head = head_word(noun)
    if noun.split(" ", 1)[0].lower() in DETERMINERS:
        return noun
    titled = head[:1].isupper() and (" of " in noun or head in NAMES_WITH_THE) and head not in COUNTED_NAMES
    if titled or (head.lower() in DEFINITE and noun == head):
        return f"the {noun}"
    if head.lower() in NO_ARTICLE or is_plural(noun) or is_mass(noun) or _is_name(noun):
        return noun
    return f"{indefinite_article(noun)} {noun}"


def indefinite_article(noun: str) -> str:
    """``a`` or ``an`` by sound: an umbrella, an hour, an X ray, a uniform, a one-piece suit."""
    first = noun.split(" ", 1)[0]
    lower = first.lower()
    if re.match(r"[A-Z](?:[A-Z]*|-.*)$", first):
        return "an" if first[0] in "AEFHILMNORSX" else "a"
    vowel = lower[:1] in tuple("aeiouàáâäèéêëìíîïòóôöùúûü") and not _A.match(lower)
    return "an" if vowel or _AN.match(lower) else "a"


def place_phrase(noun: str) -> str:
    """Where it happens, with a preposition: outdoors, in a park, on a street, at a wedding, in the air."""
    lower = noun.lower()
    if lower in ADVERBS_OF_PLACE:
        return ADVERBS_OF_PLACE[lower]
    head = head_word(noun).lower()
    phrase = f"the {noun}" if lower in _DEFINITE_PLACES else noun_phrase(noun)
    if head in ON_PLACES or _SPORTS_FIELD.search(lower):
        return f"on {phrase}"
    return f"{'at' if head in AT_PLACES else 'in'} {phrase}"


def _is_name(noun: str) -> bool:
    """A proper name, which takes no article: ``Paris``, ``Santa Claus``."""
    head = head_word(noun)
    if not head[:1].isupper() or (head.isupper() and head != noun):
        return False
    return len(head) > 3 and head not in COUNTED_NAMES and not _DEMONYM.search(head) and " of " not in noun
