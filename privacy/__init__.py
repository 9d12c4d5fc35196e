"""Finding and replacing personal data and secrets: columns of text in, the same columns without them out. No I/O.

policy.py       what an organization chose, checked
key_names.py    which names of fields mean that their value is a secret
views.py        text -> what it says once its escapes are read, with the way back
checks.py       is this number a card, an IBAN, a phone, a social security number
rules.py        the rules: where in a text each finds something
assignments.py  secrets by name in text: `password=x`
detector.py     a policy and a text -> findings
prefilter.py    one RE2 alternation that says which records of a column need a closer look
strategies.py   a found value -> what is stored instead
json_texts.py   the same, inside JSON text, without touching the rest of it
scrub.py        `Scrubber`: the batch interface
explain.py      the dry run: what a policy would do to a sample
"""
