"""The columns of ``analysis.parquet`` in classes that exist for their docstrings.

Each lists columns in numpy's style: name, type and unit; then the label, a full stop, and what it
means. Places in ``<brackets>`` stand for several columns.
"""


class Sample:
    """What was said, heard and by whom.

    Attributes
    ----------
    sample_id : string
        Sample. Clip and profile, `<clip>@<profile>`.
    id : string
        Clip. Stable name of the clip, the stem of its file; the same under all profiles.
    profile_name : string
        Profile. Hearing profile the clip was filtered with before the recogniser heard it.
    split : string
        Split. Part of the corpus the clip belongs to.
    model : string
        Model. Speech recogniser whose output is scored: the name of its folder.
    sentence : string
        Sentence. What was read, as the corpus spells it.
    reference : string
        Reference. The sentence, normalised to what the model can write.
    hypothesis : string
        Hypothesis. What the model recognised, normalised alike.
    """


class Profile:
    """The profile.

    Attributes
    ----------
    profile_attenuation_db_<frequency>_hz : float, dB HL
        Attenuation at <frequency> Hz. Hearing threshold of the profile at this frequency, read off
        its audiogram over octaves; at 125, 250, 500, 1000, 2000, 4000 and 8000 Hz.
    profile_pure_tone_average_db : float, dB HL
        Pure-tone average. Mean of the thresholds at 0.5, 1, 2 and 4 kHz.
    profile_severity : string
        Severity. Grade of the pure-tone average by the World report on hearing (WHO 2021): `none`
        below 20 dB, `mild`, `moderate` from 35, `moderately_severe` from 50, `severe` from 65,
        `profound` from 80, `complete` from 95.
    """


class Audio:
    """The sound.

    Measured on the audio of this profile, without padding, never rounded. Descriptors are librosa's
    with librosa's defaults, per frame of 2,048 samples every 512, at the clip's own sampling rate;
    each has the statistics `min`, `max`, `mean` and `std` over all frames.

    Attributes
    ----------
    audio_duration_s : float, s
        Duration. Length of the clip.
    audio_signal_mean : float
        Signal mean. Mean of the samples; full scale is 1.
    audio_signal_std : float
        Signal standard deviation. Of the samples; full scale is 1.
    audio_level_dbfs : float, dBFS
        Level. Root mean square relative to full scale; null for digital silence. It contains the
        gain of normalisation, see `clip_output_gain_db`.
    audio_peak_dbfs : float, dBFS
        Peak. Largest sample relative to full scale; null for digital silence.
    audio_pause_ratio : float
        Pause ratio. Share of the clip in pauses: 150 ms or longer at 40 dB or more below the clip's
        95th percentile of level.
    audio_pause_count : integer
        Pause count. How many pauses there are.
    audio_spectral_tilt_db_per_octave : float, dB/octave
        Spectral tilt. Slope of a straight line through the long-term spectrum; 0 for white noise.
    audio_audibility : float, %
        Audibility. Share of the speech that the profile leaves above the threshold of hearing, the
        clip taken to be spoken at 65 dB SPL, bands by their importance for speech.
    audio_spectral_flatness_<statistic> : float
        Spectral flatness, <statistic>. Geometric over arithmetic mean of the power spectrum: near 0
        for tones, 1 for white noise.
    audio_spectral_contrast_<statistic> : float, dB
        Spectral contrast, <statistic>. Peaks against valleys in octave bands, averaged over the
        bands.
    audio_melspectrogram_<statistic> : float
        Mel spectrogram, <statistic>. Power in 128 mel bands.
    audio_mfcc_<statistic> : float
        MFCC, <statistic>. 20 mel-frequency cepstral coefficients.
    audio_rms_<statistic> : float
        RMS, <statistic>. Root mean square of a frame; full scale is 1.
    audio_spectral_centroid_<statistic> : float, Hz
        Spectral centroid, <statistic>. Centre of gravity of the magnitude spectrum.
    audio_spectral_bandwidth_<statistic> : float, Hz
        Spectral bandwidth, <statistic>. Spread of the magnitude spectrum around its centroid.
    audio_spectral_rolloff_<statistic> : float, Hz
        Spectral roll-off, <statistic>. Frequency below which 85 % of the magnitude lies.
    audio_poly_features_<statistic> : float
        Spectral slope, <statistic>. Slope of a straight line through the magnitude spectrum.
    audio_zero_crossing_rate_<statistic> : float
        Zero-crossing rate, <statistic>. Share of neighbouring samples of different sign.
    """


class Text:
    """The sentence.

    Words stand between spaces, without the punctuation around them. Readability is textstat's; a
    rough guide for a single sentence, good for comparing groups.

    Attributes
    ----------
    text_word_count : integer
        Words. Words of the sentence.
    text_average_word_length : float
        Average word length. In characters.
    text_min_word_length : integer
        Shortest word. In characters.
    text_max_word_length : integer
        Longest word. In characters.
    text_char_count : integer
        Characters. Spaces and punctuation included.
    text_max_char : string
        Most frequent letter. Of several the first in the alphabet.
    text_max_char_count : integer
        Occurrences of the most frequent letter. How often it occurs.
    text_min_char : string
        Rarest letter. Of several the first in the alphabet.
    text_min_char_count : integer
        Occurrences of the rarest letter. How often it occurs.
    text_syllable_count : integer
        Syllables. Counted by textstat.
    text_lexicon_count : integer
        Lexicon count. Words as textstat counts them.
    text_sentence_count : integer
        Sentences. Counted by textstat.
    text_flesch_reading_ease : float
        Flesch reading ease. From 100 (easy) to 0 (hard), by words per sentence and syllables per
        word.
    text_flesch_kincaid_grade : float
        Flesch-Kincaid grade. School year in the USA that can read it.
    text_gunning_fog : float
        Gunning fog. School years needed, by sentence length and words of three syllables or more.
    text_dale_chall_readability_score : float
        Dale-Chall score. By sentence length and words that fourth-graders do not know; the larger,
        the harder.
    text_difficult_words : integer
        Difficult words. Words of two syllables or more that are on no list of easy words.
    text_linsear_write_formula : float
        Linsear Write. School year in the USA that can read it, by words of three syllables or more.
    text_text_standard : float
        Consensus grade. School year on which most readability formulas agree.
    """


class Recording:
    """The recording.

    From the corpus; null where the corpus is empty.

    Attributes
    ----------
    clip_id : string
        Clip of the corpus. `id` of the corpus.
    clip_path : string
        Path. `path` of the corpus.
    clip_speaker_name : string
        Speaker name. `speaker_name` of the corpus.
    clip_chapter : string
        Chapter. `chapter_id` of the corpus.
    clip_subset : string
        Subset. `subset` of the corpus.
    clip_speaker : string
        Speaker. `client_id` of the corpus.
    clip_accent : string
        Accent. `accents` of the corpus.
    clip_age : string
        Age. `age` of the corpus.
    clip_gender : string
        Gender. `gender` of the corpus.
    clip_locale : string
        Locale. `locale` of the corpus.
    clip_sentence_domain : string
        Sentence domain. `sentence_domain` of the corpus.
    clip_output_gain_db : float, dB
        Output gain. What normalisation added to this variant.
    clip_speaking_rate_words_per_s : float, words/s
        Speaking rate. Words over seconds, pauses included.
    """


class Errors:
    """The errors.

    Of an alignment of the hypothesis with the reference that has the fewest edits, in words and in
    characters; spaces between words are characters.

    Attributes
    ----------
    <unit>_error_rate : float, %
        <Unit> error rate. Edits over reference length of this sample. For a group, the sum of its
        edits over the sum of its reference lengths, never the mean of rates.
    <unit>_edits : integer
        <Unit> edits. Substitutions, deletions and insertions together.
    <unit>_reference_length : integer
        <Unit> reference length. <Unit>s of the reference.
    <unit>_hits : integer
        <Unit> hits. Recognised as said.
    <unit>_substitutions : integer
        <Unit> substitutions. Recognised as something else.
    <unit>_deletions : integer
        <Unit> deletions. Said, and nothing recognised in its place.
    <unit>_insertions : integer
        <Unit> insertions. Recognised, and not said.
    ctc_loss : float, nats
        CTC loss. Negative log likelihood of the reference given the audio, summed over the sentence
        (connectionist temporal classification, Graves et al. 2006); a large finite number where the
        sentence has more letters than the clip has room for. Null for a model that is not trained
        with it.
    word_match_error_rate : float, %
        Match error rate. Edits over all steps of the alignment, insertions included: never above
        100 % (Morris et al. 2004).
    word_information_lost : float, %
        Word information lost. What is not preserved (Morris et al. 2004).
    word_information_preserved : float, %
        Word information preserved. Share of the reference that was hit, times the share of the
        hypothesis that hit (Morris et al. 2004).
    cross_entropy : float, nats
        Cross entropy. Negative log likelihood per token of the reference, given the reference so
        far; of models that write token by token.
    token_accuracy : float, %
        Token accuracy. Share of the reference's tokens that are the most probable ones, given the
        reference so far.
    forced_hypothesis : string
        Forced hypothesis. The most probable token at every step, given the reference so far.
    forced_word_error_rate : float, %
        Forced word error rate. Of the forced hypothesis.
    forced_word_edits : integer
        Forced word edits. Of the forced hypothesis.
    confidence_token_probability : float
        Token probability. Mean probability of the tokens that were written.
    confidence_entropy : float, nats
        Entropy. Mean entropy of the distributions that tokens were chosen from: how undecided the
        model was.
    confidence_reference_rank : float
        Reference rank. Mean rank of the reference's tokens, 1 being the most probable.
    confidence_blank_rate : float, %
        Blank rate. Share of frames in which a CTC model hears no letter.
    confidence_n_tokens : integer
        Tokens. Tokens that were written.
    confidence_ended : bool
        Ended. Whether the transcript came to its end before the longest length.
    hallucination_insertion_ratio : float
        Insertion ratio. Words that nobody said over words that were said.
    hallucination_repetition : float
        Repetition. Share of the hypothesis' sequences of three words that occurred before.
    hallucination_compression_ratio : float
        Compression ratio. Bytes of the hypothesis over its bytes once compressed; above 2.4 Whisper
        takes it for a loop (Radford et al. 2023).
    hallucination_suspected : float
        Hallucination suspected. 1: more words inserted than were said, or a transcript that
        compresses like a loop.
    truncated : bool
        Truncated. The clip is longer than the model's window and was cut: words behind the cut are
        deletions.
    word_confidence : list of float
        Word confidence. Of each word of the hypothesis, from 0 to 1; only where a model tells.
    """


class Latent:
    """The latent space.

    Attributes
    ----------
    latent : list of float32
        Latent vector. The model's last hidden layer, averaged over the frames that heard the clip.
    x : float
        Map x. First coordinate of the latent vector on a map; axes have no unit.
    y : float
        Map y. Second coordinate of the latent vector on a map; near means alike to the model.
    cluster : integer
        Cluster. k-means cluster of the latent vectors, numbered by size, 0 the largest.
    audio : struct of bytes and path
        Audio. The clip under its profile, FLAC; without bytes after `--no-audio`.
    """


SECTIONS: tuple[type, ...] = (Sample, Profile, Audio, Text, Recording, Errors, Latent)
