"""The words of the embedded corpus, by what they do in a sentence; all are in CMUdict."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NOUNS = _words(
    """
    anchor apple arrow artist baker banker barrel basket battle beach bear bell bicycle bird blanket board boat
    bottle bowl box branch bread bridge brother brush bucket building button cabin cable cake camera camp candle
    captain carpet castle cat chain chair chicken child church circle city clock cloud coat coffee college colour
    corner cottage country cousin cow crowd crown cup curtain daughter desert desk dinner doctor dog door dragon
    drawer dress driver drum duck eagle engine engineer eye face factory family farm farmer father feather fence
    field fire fisherman flag floor flower forest fork fox friend frog garden gate ghost giant girl glass goat
    grandmother grass guard guest guitar hammer harbour hat hill hole horse hospital hotel house hunter husband
    island jacket judge juice kettle key king kitchen kitten knife ladder lake lamp lawyer leader leaf lemon letter
    library light lion lock machine map market mayor meadow medicine merchant message milk miller mirror money
    monkey moon morning mother motor mountain mouse mouth museum music nail needle neighbour nephew nest newspaper
    night nurse oak ocean office officer onion orange oven owl owner package page painter palace paper parcel parent
    park party path peach pen pencil pepper piano picture pigeon pilot pirate plane plant plate pocket poet police
    potato prince princess prison promise purse queen question rabbit radio railway rain reader ribbon rice ring
    river road robot rock roof room rope rose sailor salad salt sandwich school scientist sea seat secret servant
    shadow sheep shelf ship shirt shoe shop shoulder silver singer sister sky snake snow soap soldier son song soup
    spider spoon spring square stable stage star station stone storm story stove stranger street student sugar suit
    summer sun table tailor tail teacher telephone temple tent theatre thief thunder ticket tiger tower town toy
    train tree truck trumpet tunnel turtle uncle valley vegetable village violin visitor voice wagon waiter wall
    watch water weather wedding wheel whistle widow wife wind window winter wolf woman wood worker world writer yard
    """
)

PLURALS = _words(
    """
    animals apples birds boats books boxes boys brothers cards children coins cousins days dogs doors eggs farmers
    feet fingers flowers friends girls guests hands horses hours houses islands keys kings ladders leaves letters
    lights men miles minutes months mountains nights numbers pages people pictures pieces plates questions rivers
    roads rooms roses sailors schools ships shoes sisters soldiers songs stars stones stories streets students
    teachers things tickets trees voices walls weeks windows women words workers years
    """
)

ADJECTIVES = _words(
    """
    angry ancient bitter black blue bold brave bright broken brown busy calm careful cheap clean clear clever cold
    common crazy cruel curious dangerous dark dead deep different dirty distant double dry dusty eager early easy
    empty enormous famous fast fat favourite fierce final fine first flat foolish foreign fresh friendly frozen
    funny gentle glad golden good grand great green grey handsome happy hard heavy hidden high hollow hot huge
    hungry important jealous kind large last late lazy little local lonely long loud lovely low lucky mad modern
    narrow nervous new nice noisy old open perfect plain pleasant polite poor popular private proud public pure
    quick quiet rare rich rough round royal rusty sad safe second secret serious sharp short shy sick silent simple
    slow small smooth soft special steep strange strong stupid sudden sweet tall tender terrible thick thin tiny
    tired ugly useful warm weak wet white whole wide wild wise wonderful wooden yellow young
    """
)

TRANSITIVE_PAST = _words(
    """
    accepted admired asked avoided believed bought borrowed broke brought built burned called carried caught changed
    chased chose cleaned closed collected counted covered crossed described destroyed discovered drew dropped
    enjoyed entered examined expected feared fed finished followed forgot found gave guarded hated heard held helped
    hid hired ignored invited joined kept kicked knew left lifted liked lost loved made measured met missed moved
    needed noticed offered opened ordered owned painted passed planned played praised prepared promised protected
    pulled pushed raised reached read received refused remembered repaired returned saved saw sent served shared
    showed sold stole stopped studied surprised taught thanked threw took touched trusted visited wanted warned
    washed watched welcomed won wrote
    """
)

TRANSITIVE_BASE = _words(
    """
    answer bring build buy carry catch change choose clean close cook cover cross describe draw drop eat enjoy feed
    find follow forget forgive give hear help hide hold hurt invite join keep know leave lose make meet move open
    order paint protect pull push reach remember repair save see sell send serve share show steal stop teach thank
    touch trust visit warn wash watch write
    """
)

INTRANSITIVE_PAST = _words(
    """
    appeared argued arrived came climbed cried danced disappeared dreamed drove escaped failed fell fought grew
    hurried jumped laughed listened lived marched prayed ran rested sailed sang sat shouted slept smiled spoke
    stayed stood swam talked travelled trembled turned waited walked whispered worked
    """
)

ADVERBS = _words(
    """
    again alone always badly bravely carefully certainly early easily finally gently gladly happily here loudly
    never nearly often once outside politely proudly quickly quietly rarely really sadly seldom silently simply
    slowly softly sometimes soon still strangely suddenly surely there together twice usually
    """
)

PREPOSITIONS = _words(
    """
    about above across after against along among around before behind below beside between beyond by despite during
    for from in inside into near on over past through toward towards under until upon with without
    """
)

NAMES = _words(
    """
    adam agnes albert alice andrew anna arthur barbara benjamin bertha carl caroline charles clara daniel david
    dorothy edward eleanor elizabeth emily emma ernest florence frances frank frederick george gilbert grace harold
    harriet helen henry hugh isabel jack jacob james jane jennifer john joseph julia kate laura lucy margaret maria
    martha martin mary matthew michael nancy oliver oscar patrick paul peter philip rachel ralph rebecca richard
    robert rosa samuel sarah simon sophia stephen susan theodore thomas victor virginia walter william
    """
)

PLACES = _words(
    """
    africa america asia australia austria berlin boston brazil california canada chicago china dublin egypt england
    europe florida france germany greece holland india ireland italy japan kansas london madrid mexico moscow norway
    oxford paris poland rome russia scotland spain sweden texas vienna wales
    """
)

NUMBERS = _words(
    """
    two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fifty sixty seventy eighty ninety
    """
)

DAYS = _words("monday tuesday wednesday thursday friday saturday sunday")
MONTHS = _words("january february march april may june july august september october november december")
