"""What no rule of English spelling gives: irregular pasts, silent e, and which verbs have no plain -er noun."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from ovgsr.noun_phrases import word_set

_PASTS = """
arise arose arisen; awake awoke awoken; be was were been am is are; bear bore borne; beat beaten; become became;
begin began begun; bend bent; bet betted; bid bade bidden; bind bound; bite bit bitten; bleed bled; blow blew blown;
break broke broken; breed bred; bring brought; build built; burn burned burnt; burst; buy bought; cast; catch
caught; cheerlead cheerled; choose chose chosen; cling clung; come came; creep crept; cut; deal dealt; dig dug; dive
dived dove; do did done does; draw drew drawn; dream dreamed dreamt; drink drank drunk; drive drove driven; dwell
dwelt; eat ate eaten; fall fell fallen; feed fed; feel felt; fight fought; find found; fit fitted; flee fled; fling
flung; fly flew flown; forbid forbade forbidden; forget forgot forgotten; freeze froze frozen; get got gotten; give
gave given; go went gone; grind ground; grow grew grown; hang hung hanged; have had has; hear heard; heave heaved
hove; hide hid hidden; hit; hold held; hurt; keep kept; kneel knelt kneeled; knit knitted; know knew known; lay
laid; lead led; lean leaned leant; leap leaped leapt; learn learned learnt; leave left; lend lent; let; lie lay lain
lied; light lit lighted; lose lost; make made; mean meant; meet met; mow mowed mown; overflow overflowed overflown;
overtake overtook overtaken; pay paid; plead pleaded pled; put; quit; read; ride rode ridden; ring rang rung; rise
rose risen; run ran; saw sawed sawn; say said; see saw seen; seek sought; sell sold; send sent; set; sew sewed sewn;
shake shook shaken; shave shaved shaven; shear sheared shorn; shed; shine shone shined; shoot shot; show showed
shown; shred shredded; shrink shrank shrunk; shut; sing sang sung; sink sank sunk; sit sat; slay slew slain; sleep
slept; slide slid; sling slung; slit; smell smelled smelt; sneak sneaked snuck; sow sowed sown; speak spoke spoken;
speed sped speeded; spell spelled spelt; spend spent; spill spilled spilt; spin spun; spit spat; split; spoil
spoiled spoilt; spread; spring sprang sprung; stand stood; steal stole stolen; stick stuck; sting stung; stink stank
stunk; stride strode; strike struck stricken; string strung; strive strove striven; swear swore sworn; sweep swept;
swell swelled swollen; swim swam swum; swing swung; take took taken; teach taught; tear tore torn; tell told; think
thought; throw threw thrown; thrust; tread trod trodden; undergo underwent undergone; understand understood; wake
woke woken; wear wore worn; weave wove woven; weep wept; wet wetted; win won; wind wound; withdraw withdrew
withdrawn; wring wrung; write wrote written
"""

_AGENTS = """
act actor; beg beggar; celebrate celebrant celebrator; communicate communicator; compete competitor; construct
constructor; decorate decorator; distribute distributor; educate educator; eject ejector; exterminate exterminator;
inject injector; instruct instructor; interrogate interrogator; lie liar; navigate navigator; operate operator;
photograph photographer; protest protester protestor; sail sailor; visit visitor
"""

BASES: Mapping[str, str] = {
    "being": "be",
    "butting": "butt",
    "adding": "add",
    "erring": "err",
    "purring": "purr",
    "creating": "create",
    "dyeing": "dye",
    "singeing": "singe",
    "panicking": "panic",
    "picnicking": "picnic",
    "mimicking": "mimic",
    "lying": "lie",
    "tying": "tie",
    "untying": "untie",
    "dying": "die",
    "vying": "vie",
}
"""Gerunds whose base form the rules would get wrong."""

SILENT_E = word_set(
    """
    ach arrang bast bath breath challeng chang cloth compet complet cring delet devot excit exchang exhal hast ignit
    inhal interfer invit loath loung lung past persever plung postpon promot recit sooth stamped tast teeth telephon
    typ unit wast welcom writh
    """
)
"""Stems (gerund without -ing) that end in a silent e although the rules would not give them one."""

NO_SILENT_E = word_set(
    """
    anchor author bias canvas color combat favor focus format harbor honor labor monitor motor murmur razor tailor
    tutor waltz
    """
)
"""Stems to which the rules would give a silent e that they do not have."""

STRESSED_LAST = word_set(
    "admit allot begin commit compel control equip expel forget handicap input kidnap occur omit outfit overlap permit "
    "prefer program rebut refer regret reset submit transfer unplug unzip upset"
)
"""Longer verbs that double their last consonant, as short ones do."""

OTHER_SPELLINGS: Mapping[str, str] = {
    "color": "colour",
    "mold": "mould",
    "plow": "plough",
    "harbor": "harbour",
    "curtsy": "curtsey",
    "practice": "practise",
}

NO_AGENT = word_set(
    """
    act ail arch be bear beg bet board boat book bother bow burn butt butter buckle button calm celebrate clear
    cloth coach color communicate compete construct cork corn count cover crack cram crest crown cross curl decorate
    dine dip distribute dock draw dress drip dry duck dust educate eject emerge empty erupt exterminate fasten fill
    flame flick flip flow fold ford gather glow ham hang have hit hold inject instruct interrogate lace lap let lie
    light lock make mat mine mold navigate nip number off offer operate own pant paste pat paw pee photograph pick
    pin pitch place plant plate plunge point poke poo pool pot pout press print prompt protest put raft rain rear
    recover rest rock roll rot rub rule sail say sew shelf shell shelve show shutter sit skip slip snow speak spoil
    sprout staple stand stick sting stoop storm stretch strip suck sum sweat tape temp tend test tie till tip toast
    toss tow trail train trip turn twist up use visit wade wag wait wash wave wax weather weed weep wet wheel wink
    wipe work wrap wrinkle yank
    """
)
"""Verbs whose -er noun is a thing or another word (counter, drawer, locker, tower), ends otherwise, or is not said."""


@cache
def irregular_pasts() -> Mapping[str, frozenset[str]]:
    """Base form -> its past forms and participles, where they are not regular."""
    return {words[0]: frozenset(words[1:] or words) for words in _entries(_PASTS)}


@cache
def agent_nouns() -> Mapping[str, frozenset[str]]:
    """Base form -> the words for who does it, where these are not the verb with -er."""
    return {words[0]: frozenset(words[1:]) for words in _entries(_AGENTS)}


def _entries(table: str) -> list[list[str]]:
    return [entry.split() for entry in table.split(";") if entry.strip()]
