"""The corpora that the papers and the recipes use, with their public sources.

A checksum stands here only where whoever publishes a file says it, or where it was taken from that file; the page
about the papers' data is made from this table.
"""

from menura.corpus.published.records import Joined, PublishedCorpus, PublishedFile, PublishedSplit

PARLAI = "ParlAI, parlai/tasks/{}/build.py"
MOJITALK_COPY = "the copy at github.com/zlinao/Variational-Transformer, commit b1d13151"
CPED_COMMIT = "github.com/scutcyr/CPED, commit 1e4b81c2"
CPED_RAW = "https://raw.githubusercontent.com/scutcyr/CPED/main/data/CPED/"
PLATO_TABLE = "PLATO, table 1"

CONVAI2 = PublishedCorpus(
    name="convai2",
    about="ConvAI2: Persona-Chat, training dialogues from both sides (Dinan et al., 2019)",
    used_by="mamlviapp, cmaml, plato (Persona-Chat)",
    source="https://parl.ai/projects/personachat/",
    licence="CC BY 4.0, which is Persona-Chat's",
    files=(
        PublishedFile(
            "convai2_fix_723.tgz",
            "http://parl.ai/downloads/convai2/convai2_fix_723.tgz",
            sha256="d0ae89defe2fd0b0a4221eaa642a457d7d40cef475f54798119c7f3b8dd9361d",
            checksum_from=PARLAI.format("convai2"),
        ),
    ),
    splits=(
        PublishedSplit("train", ("train_self_original.txt",), ("train",), 17_878),
        PublishedSplit("valid", ("valid_self_original.txt",), ("valid",), 1_000, 15_602),
    ),
    counts_from="ParlAI; train is Persona-Chat's 8,939 dialogues from both sides",
    given="convai2_fix_723.tgz",
    formats=("personachat", "personachat_jsonl", "personality"),
    note="The test split was never published.",
)

PERSONACHAT = PublishedCorpus(
    name="personachat",
    about="Persona-Chat, each dialogue from one side (Zhang et al., 2018)",
    used_by="the papers CMAML, MAMLviaPP and PLATO; recipes take it by --set data.corpus=personachat",
    source="https://parl.ai/projects/personachat/",
    licence="CC BY 4.0",
    files=(
        PublishedFile(
            "personachat.tgz",
            "http://parl.ai/downloads/personachat/personachat.tgz",
            sha256="507cf8641d333240654798870ea584d854ab5261071c5e3521c20d8fa41d5622",
            checksum_from=PARLAI.format("personachat"),
        ),
    ),
    splits=(
        PublishedSplit("train", ("train_self_original.txt",), ("train",), 8_939, 131_438),
        PublishedSplit("valid", ("valid_self_original.txt",), ("valid",), 1_000, 15_602),
        PublishedSplit("test", ("test_self_original.txt",), ("test",), 968, 15_024),
    ),
    counts_from=PLATO_TABLE,
    given="personachat.tgz",
    formats=("personachat", "personachat_jsonl", "personality"),
    then=(
        "menura train cmaml/maml_seq2spg --set data.corpus=personachat --set data.valid_id_prefixes=valid "
        "--set data.test_id_prefixes=test"
    ),
    note="It has the test personas of the papers.",
)

MOJITALK = PublishedCorpus(
    name="mojitalk",
    about="MojiTalk: pairs of tweets, the emoji of the reply known (Zhou & Wang, 2018)",
    used_by="cmaml-mojitalk, scorer/emoji, plato/pretrain",
    source="https://github.com/claude-zhou/MojiTalk",
    licence="none stated; Twitter's terms hold",
    files=(
        PublishedFile(
            "mojitalk_data.zip", "https://drive.google.com/file/d/1l0fAfxvoNZRviAMVLecPZvFZ0Qexr7yU/view?usp=sharing"
        ),
        *(
            PublishedFile(name, size=size, sha256=sha256, checksum_from=MOJITALK_COPY)
            for name, size, sha256 in (
                ("dev.ori", 2_365_241, "7e508741cbfbc5b931d178dedf5beab5fc572e2e69645373e32157b0689ce92e"),
                ("dev.rep", 1_752_240, "f721436f0f453162d260408873a14ac50d360e40c5f3a37ac35a08cce1e409f3"),
                ("test.ori", 2_373_104, "38f3a246b98d70447d10b32112060e651a9ac12b68afc06eb12388f96801b7ae"),
                ("test.rep", 1_751_277, "6ab4c8f2cb474b11e73a19d25855cbf7b971f2a6ed30e925b83d57af15d57c4b"),
            )
        ),
    ),
    splits=(
        PublishedSplit("train", ("train.ori", "train.rep"), ("train",), 596_959),
        PublishedSplit("dev", ("dev.ori", "dev.rep"), ("dev",), 32_600),
        PublishedSplit("test", ("test.ori", "test.rep"), ("test",), 32_600),
    ),
    counts_from="Zhou & Wang, 2018",
    given="mojitalk_data.zip",
    formats=("mojitalk",),
    note="Google Drive may ask before it gives the file, so open the address in a browser.",
)

DAILYDIALOG = PublishedCorpus(
    name="dailydialog",
    about="DailyDialog: everyday conversations with acts and emotions (Li et al., 2017)",
    used_by="plato (DailyDialog)",
    source="http://yanran.li/dailydialog",
    licence="CC BY-NC-SA 4.0",
    files=(PublishedFile("ijcnlp_dailydialog.zip", "http://yanran.li/files/ijcnlp_dailydialog.zip"),),
    splits=(
        PublishedSplit("train", ("dialogues_train.txt", "dialogues_act_train.txt"), ("train",), 11_118, 87_170),
        PublishedSplit("valid", ("dialogues_validation.txt", "dialogues_act_validation.txt"), ("valid",), 1_000, 8_069),
        PublishedSplit("test", ("dialogues_test.txt", "dialogues_act_test.txt"), ("test",), 1_000, 7_740),
    ),
    counts_from=PLATO_TABLE,
    given="ijcnlp_dailydialog.zip",
    formats=("dailydialog",),
    note=(
        "The splits are zip archives in that archive, and are found there. If the authors' site does not answer, look "
        "for its address in the Internet Archive. ParlAI's dailydialog.tar.gz is in a format of its own, not read."
    ),
)

AVSD = PublishedCorpus(
    name="avsd",
    about="DSTC7-AVSD: questions and answers about videos (Alamri et al., 2019)",
    used_by="plato (AVSD)",
    source="https://github.com/hudaAlamri/DSTC7-Audio-Visual-Scene-Aware-Dialog-AVSD-Challenge",
    licence="MIT (the repository); the videos are those of Charades, for non-commercial use",
    files=(
        *(
            PublishedFile(
                f"{split}_set4DSTC7-AVSD.json",
                "https://drive.google.com/drive/folders/1SlZTySJAk_2tiMG5F8ivxCfOl_OWwd_Q?usp=sharing",
            )
            for split in ("train", "valid", "test")
        ),
        PublishedFile(
            "videoDial_test_v01.json",
            "https://github.com/hudaAlamri/DSTC7-Audio-Visual-Scene-Aware-Dialog-AVSD-Challenge",
            2_527_423,
            "287804244da464ae98d333a9fdb6ab316c239f56ed9f72d888959874e5dd8170",
            "Data/ in the repository's history, commit 6a5ee854",
        ),
    ),
    splits=(
        PublishedSplit(
            "version 0.1, test file",
            ("videoDial_test_v01.json",),
            ("videoDial_test",),
            1_625,
            32_500,
            of_another_version=True,
        ),
        PublishedSplit("train", ("train_set4DSTC7-AVSD.json",), ("train",), 7_659, 153_180),
        PublishedSplit("valid", ("valid_set4DSTC7-AVSD.json",), ("valid",), 1_787, 35_740),
        PublishedSplit("test", ("test_set4DSTC7-AVSD.json",), ("test",), 1_710),
    ),
    counts_from=f"{PLATO_TABLE}; the file of version 0.1 by itself",
    given="train_set4DSTC7-AVSD.json valid_set4DSTC7-AVSD.json test_set4DSTC7-AVSD.json",
    formats=("avsd",),
    note=(
        "The last answer of a test dialogue is not disclosed; such questions are left out. PLATO scores by six "
        "reference answers each, Menura by one."
    ),
)

RPC = PublishedCorpus(
    name="rpc",
    about="RealPersonaChat: Japanese chats of real people, ten sentences each (Yamashita et al., 2023)",
    used_by="arplus",
    source="https://github.com/nu-dialogue/real-persona-chat",
    licence="CC BY-SA 4.0",
    files=(
        PublishedFile(
            "real-persona-chat-main.zip",
            "https://github.com/nu-dialogue/real-persona-chat/archive/refs/heads/main.zip",
        ),
        PublishedFile(
            "interlocutors.json",
            "https://github.com/nu-dialogue/real-persona-chat",
            641_208,
            "f62020d0fb186b127ad07b0ca00b324019898aad23a1932fafb9eedf61e001b5",
            "github.com/nu-dialogue/real-persona-chat, commit 28d0b6b3",
        ),
    ),
    splits=(PublishedSplit("all", (), ("rpc-",), 13_583, 408_619),),
    counts_from="the repository's page; the paper has 14,000, of which these were made public",
    beside=("interlocutors.json",),
    joined=Joined("dialogues/*.json", "dialogues.jsonl"),
    given="real-persona-chat-main.zip",
    formats=("real_persona_chat",),
    note="A clone of the repository serves as well: give its folder.",
)

CPED = PublishedCorpus(
    name="cped",
    about="CPED: dialogues of Chinese television characters (Chen et al., 2022)",
    used_by="arplus (CPED)",
    source="https://github.com/scutcyr/CPED",
    licence="Apache-2.0 (the repository)",
    files=(
        PublishedFile("CPED-main.zip", "https://github.com/scutcyr/CPED/archive/refs/heads/main.zip"),
        PublishedFile("train_split.csv", f"{CPED_RAW}train_split.csv"),
        PublishedFile(
            "valid_split.csv",
            f"{CPED_RAW}valid_split.csv",
            1_672_923,
            "f434a04d21640bb38c849f3e9598c2b7b2fbdb49be6a7365b2ae016019bd389b",
            CPED_COMMIT,
        ),
        PublishedFile(
            "test_split.csv",
            f"{CPED_RAW}test_split.csv",
            4_137_142,
            "a4bcde678438ba1f95224d8e772e40f1f1df7c72f348796b3fafd421c2443a53",
            CPED_COMMIT,
        ),
    ),
    splits=(
        PublishedSplit("train", ("train_split.csv",), ("train",), 8_086),
        PublishedSplit("valid", ("valid_split.csv",), ("valid",), 934),
        PublishedSplit("test", ("test_split.csv",), ("test",), 2_815),
    ),
    counts_from="Chen et al., 2022",
    given="CPED-main.zip",
    formats=("cped",),
    note="The paper counts 132,762 utterances; here utterances of one speaker in a row are one turn.",
)

PERSONALDIALOG = PublishedCorpus(
    name="personaldialog",
    about="PersonalDialog: Chinese posts with replies and profiles (Zheng et al., 2019)",
    used_by="arplus (PersonalDialog)",
    source="https://huggingface.co/datasets/silver/personal_dialog",
    licence="'other' on its page: ask the authors",
    files=(
        PublishedFile(
            "dialogues_train.jsonl.gz",
            "https://huggingface.co/datasets/silver/personal_dialog/blob/main/dialogues_train.jsonl.gz",
        ),
    ),
    splits=(PublishedSplit("all", ("dialogues_train.json*",), ("",)),),
    given="first_million.jsonl",
    formats=("personaldialog",),
    note=(
        "The training file is larger than a corpus may be, so take its first million lines: zcat "
        "dialogues_train.jsonl.gz | head -n 1000000 > first_million.jsonl. AR and AR+ draw 140,000 of 5,195,149 "
        "sessions; which ones was not published."
    ),
)

DNLI = PublishedCorpus(
    name="dnli",
    about="Dialogue NLI: pairs of sentences that agree, contradict or neither (Welleck et al., 2019)",
    used_by="scorer/nli, CMAML's C score",
    source="https://wellecks.com/dialogue_nli/",
    licence="see the source",
    files=(
        PublishedFile(
            "dialogue_nli.zip",
            "https://drive.google.com/file/d/1WtbXCv3vPB5ql6w0FVDmAEMmWadbrCuG",
            sha256="1164b0d9a0a1a6006891a6d4435a6a813464bc9b1e2f1ec5ce28c47267ad5e42",
            checksum_from=PARLAI.format("dialogue_nli"),
        ),
    ),
    splits=(
        PublishedSplit("train", ("dialogue_nli_train.jsonl",), ("train",), 310_110),
        PublishedSplit("dev", ("dialogue_nli_dev.jsonl",), ("dev", "valid"), 16_500),
    ),
    counts_from="Welleck et al., 2019",
    unit="pair",
    given="dialogue_nli.zip",
    then="menura train scorer/nli --set data.corpus=dnli --set data.eval_files=dev",
    note="The scorer learns from the training pairs and is judged by those of dev.",
)

CHITCHAT = PublishedCorpus(
    name="chitchat",
    about="BYU's chitchat data set: English conversations of 1,315 people",
    used_by="the default corpus; plato/pretrain",
    source="https://github.com/BYU-PCCL/chitchat-dataset",
    licence="MIT",
    splits=(PublishedSplit("all", (), ("",), 7_168),),
    counts_from="the package chitchat-dataset 0.9.0, which Menura installs",
    formats=("chitchat",),
    access="packaged",
    note="It is there once Menura is installed.",
)

TWITTER_REDDIT = PublishedCorpus(
    name="twitter-reddit",
    about="PLATO's data of pre-training: 8.3 million samples of Twitter and Reddit (Bao et al., 2020)",
    used_by="the paper PLATO",
    source="https://github.com/PaddlePaddle/Research/tree/master/NLP/Dialogue-PLATO",
    licence="not published",
    access="none",
    note=(
        "The authors published weights trained on it, and their processed copies of Persona-Chat, DailyDialog and "
        "AVSD, whose format Menura does not read. plato/pretrain takes chitchat, and at size paper mojitalk too, in "
        "its place."
    ),
)

CORPORA = {
    corpus.name: corpus
    for corpus in (
        CONVAI2,
        PERSONACHAT,
        MOJITALK,
        DAILYDIALOG,
        AVSD,
        RPC,
        CPED,
        PERSONALDIALOG,
        DNLI,
        CHITCHAT,
        TWITTER_REDDIT,
    )
}
