"""Why a row goes no further: the one vocabulary of `reason_code`. What a row's own numbers or file are stands
in its `reason_detail`, free text.

A new reason is a member here, with its kind and a sentence; tables and docs/data.md follow.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a reason says about the data."""

    UNUSABLE = "unusable"
    """A file, a line or a label is at fault: counts as bad data."""
    NO_FACE = "no face"
    """Nothing is wrong with the file, but no face could be read or cut out."""
    BY_RULE = "by rule"
    """Left out on purpose, by a rule, a threshold or a person: says nothing about the data's quality."""


class Reason(StrEnum):
    """A reason's code, its `kind`, and a sentence (`description`)."""

    kind: Kind
    description: str

    def __new__(cls, code: str, kind: Kind, description: str) -> Reason:
        member = str.__new__(cls, code)
        member._value_ = code
        member.kind, member.description = kind, description
        return member

    @classmethod
    def of(cls, code: str) -> Reason:
        """The reason of that code. Raises KeyError for one that is none."""
        return cls[code.upper()]

    # files and names
    MISSING_FILE = "missing_file", Kind.UNUSABLE, "A list or a label names a picture that is not there."
    UNREADABLE_FILE = "unreadable_file", Kind.UNUSABLE, "No permission, a broken link, or the disk's fault."
    UNREADABLE_NAME = "unreadable_name", Kind.UNUSABLE, "The file's name, or a name in a list, is no text."
    EMPTY_FILE = "empty_file", Kind.UNUSABLE, "The file has 0 bytes."
    UNSUPPORTED_FORMAT = (
        "unsupported_format",
        Kind.UNUSABLE,
        "A format that is not read (JPEG XL, SVG, EPS, PSD, raw camera data): save it as JPEG or PNG.",
    )
    NOT_A_PICTURE = "not_a_picture", Kind.UNUSABLE, "Its header is that of no known picture format."
    TOO_MANY_PIXELS = (
        "too_many_pixels",
        Kind.UNUSABLE,
        "More than 100 million pixels or a side above 32,766; refused by its header.",
    )
    TRUNCATED_IMAGE = "truncated_image", Kind.UNUSABLE, "The picture's end is missing."
    CORRUPT_IMAGE = (
        "corrupt_image",
        Kind.UNUSABLE,
        "Does not decode: found by the stage that reads it first, and tried again in every run.",
    )
    CHANGED_FILE = (
        "changed_file",
        Kind.UNUSABLE,
        "Was replaced after its content was hashed, while a run was under way; run again.",
    )
    KILLS_WORKER = (
        "kills_worker",
        Kind.UNUSABLE,
        "The process of the model that read it was killed each time, also when it read nothing else; tried "
        "again in every run.",
    )
    # archives
    DAMAGED_ARCHIVE = (
        "damaged_archive",
        Kind.UNUSABLE,
        "A member of a RAR part is cut off or fails its checksum.",
    )
    POINTS_OUTSIDE = (
        "points_outside",
        Kind.UNUSABLE,
        "A member whose path leads out of the archive; never written.",
    )
    LINK = "link", Kind.UNUSABLE, "A member that is a link; never written."
    TOO_MANY_BYTES = "too_many_bytes", Kind.UNUSABLE, "More bytes than any photograph has."
    # lists
    SHORT_LINE = "short_line", Kind.UNUSABLE, "A line of a list with too few cells."
    LONG_LINE = "long_line", Kind.UNUSABLE, "A line of a list with too many cells."
    NO_PATH = "no_path", Kind.UNUSABLE, "A line of a list that names no picture."
    NOT_A_NUMBER = "not_a_number", Kind.UNUSABLE, "A cell that should be a number is none."
    OUT_OF_RANGE = "out_of_range", Kind.UNUSABLE, "A value that its label cannot have."
    DUPLICATE_LINE = "duplicate_line", Kind.UNUSABLE, "A line that lists a picture again."
    # labels
    NO_LABEL = "no_label", Kind.UNUSABLE, "A picture for which there is no label."
    UNREADABLE_LABEL = "unreadable_label", Kind.UNUSABLE, "A crop's label file that cannot be read."
    NO_LABEL_FILE = (
        "no_label_file",
        Kind.UNUSABLE,
        "One of a subject's twelve files is missing, empty, unreadable.",
    )
    SHORT_LABEL_LINE = "short_label_line", Kind.UNUSABLE, "A label line without an intensity."
    LONG_LABEL_LINE = "long_label_line", Kind.UNUSABLE, "A label line with more than frame and intensity."
    LABEL_NOT_A_NUMBER = (
        "label_not_a_number",
        Kind.UNUSABLE,
        "A label line whose frame or intensity is no number.",
    )
    FRAME_OUT_OF_RANGE = "frame_out_of_range", Kind.UNUSABLE, "A label line whose frame cannot be one."
    LABEL_OUT_OF_RANGE = "label_out_of_range", Kind.UNUSABLE, "An intensity that is not one of 0 to 5."
    DUPLICATE_LABEL_LINE = (
        "duplicate_label_line",
        Kind.UNUSABLE,
        "A line that says the same of a frame again.",
    )
    CONFLICTING_LABEL_LINES = (
        "conflicting_label_lines",
        Kind.UNUSABLE,
        "Two lines that differ about one frame.",
    )
    # films and frames
    NO_FRAME = "no_frame", Kind.UNUSABLE, "A labelled frame that no film or folder has."
    NO_FRAME_NUMBER = "no_frame_number", Kind.UNUSABLE, "An extracted frame whose name has no number."
    DUPLICATE_FRAME = "duplicate_frame", Kind.UNUSABLE, "A second file of the same frame."
    SECOND_VIDEO = "second_video", Kind.UNUSABLE, "A second film of a subject and camera; left alone."
    FAULTY_FRAME = "faulty_frame", Kind.BY_RULE, "In DISFA's log of frames in which the tracking failed."
    BEYOND_SHARE = (
        "beyond_share",
        Kind.BY_RULE,
        "A rendered picture beyond the share of the training set that rendered ones may make up.",
    )
    NO_ACTIVE_AU = "no_active_au", Kind.BY_RULE, "A frame without an active AU that was not drawn to stay."
    # faces
    NO_FACE = "no_face", Kind.NO_FACE, "No face was found."
    SEVERAL_FACES = "several_faces", Kind.BY_RULE, "A second face nearly as large as the one that was read."
    NO_FACE_BOX = "no_face_box", Kind.NO_FACE, "The list has no box to crop around, or an empty one."
    FACE_BOX_OUTSIDE = "face_box_outside", Kind.NO_FACE, "The list's box lies outside the picture."
    FACE_NOT_ALIGNED = (
        "face_not_aligned",
        Kind.NO_FACE,
        "A face was found that the estimator could not align.",
    )
    # people
    FORGOTTEN = "forgotten", Kind.BY_RULE, "A person asked for it to be forgotten."
    # rules
    TOO_SMALL = "too_small", Kind.BY_RULE, "A side is shorter than the profile's minimum."
    NOT_JUDGED = "not_judged", Kind.BY_RULE, "The model gave no answer to a question."
    NOT_PHOTOREALISTIC = (
        "not_photorealistic",
        Kind.BY_RULE,
        "By BLIP-2's answers a cartoon, or no real photo.",
    )
    OVERRULED = "overruled", Kind.BY_RULE, "A person's word against the model's; kept rows carry it too."
    NOT_FINITE = "not_finite", Kind.UNUSABLE, "The estimator gave an intensity that is no finite number."
    NO_INTENSITIES = "no_intensities", Kind.NO_FACE, "The estimator gave no intensity at all."
    TOO_WEAK = "too_weak", Kind.BY_RULE, "Too little expression for the recipe."
    NO_CAPTION = "no_caption", Kind.UNUSABLE, "No caption, or an empty one."
    # what is there twice
    DUPLICATE_PICTURE = "duplicate_picture", Kind.BY_RULE, "Has the content of an earlier sample."
    CONTRADICTING_DUPLICATE = (
        "contradicting_duplicate",
        Kind.BY_RULE,
        "Has the content of an earlier sample, and labels that contradict its own.",
    )
    DUPLICATE_IN_ANOTHER_SPLIT = (
        "duplicate_in_another_split",
        Kind.BY_RULE,
        "Looks like an earlier sample that stays in another split.",
    )


COLUMNS = ("reason_code", "reason_detail")
"""Where tables carry it: a `Reason` or null, and free text or null."""


def of_kind(kind: Kind) -> list[str]:
    """The codes of that kind, in order."""
    return [reason.value for reason in Reason if reason.kind == kind]
