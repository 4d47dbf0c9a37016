"""The data sets on which PLATO and its baselines are trained and evaluated (PLATO, table 1 and section 3.2).

Held-out sides but DailyDialog's are drawn down to ``HELD`` tasks; ``--set data.max_heldout_tasks=0`` takes all. Where a
set has several files the splits are the publisher's; ids begin as in the official files or in one of two mirrors of
them.
"""

from menura.training.data import DataConfig

HELD = 200  # tasks of a held-out split: evaluating one system then takes minutes on one core

# A dialogue is a task with both speakers' replies. The sets' own training lines repeat, also held-out ones.
DAILYDIALOG = DataConfig(
    corpus="dailydialog",
    task_by="dialogue",
    dedup=True,
    valid_id_prefixes="dialogues_validation,laed_validation",
    test_id_prefixes="dialogues_test,laed_test",
    max_turns=0,
    min_heldout_dialogues=1,
    min_train_dialogues=1,
)
# A persona is a task; replies are grounded in its sentences. Settings are chosen on held-back training personas.
PERSONACHAT = DataConfig(
    corpus="convai2",
    task_by="facts",
    test_id_prefixes="valid",
    max_turns=0,
    max_dialogues=20,
    valid=0.1,
    min_heldout_dialogues=1,
    min_train_dialogues=1,
    max_heldout_tasks=HELD,
)
# A video is a task; caption and summary are the answerer's facts, and only answers are replies. Split by video.
AVSD = DataConfig(
    corpus="avsd",
    task_by="speaker",
    max_turns=0,
    train=0.8,
    valid=0.1,
    test=0.1,
    min_heldout_dialogues=1,
    min_train_dialogues=1,
    max_heldout_tasks=HELD,
)
# The pretraining data, disjoint from all of the sets above. Some of chitchat's conversations
# have hundreds of turns; the first sixteen of each are more different from one another.
CHITCHAT = DataConfig(
    corpus="chitchat,mojitalk",
    task_by="dialogue",
    with_facts=False,
    dedup=True,
    max_turns=16,
    train=0.96,
    valid=0.02,
    test=0.02,
    min_heldout_dialogues=1,
    min_train_dialogues=1,
    max_heldout_tasks=HELD,
)
