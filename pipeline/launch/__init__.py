"""Beyond one machine: a command becomes an array of SLURM jobs, and one that finishes its output.

``request`` is what was asked for, ``resources`` what the jobs get, ``submit`` cuts the work,
``record`` keeps what was launched, ``jobs`` hands it to SLURM, ``task`` runs inside the jobs,
``queue`` asks SLURM, ``progress`` says how far it has come and ``show`` prints that; ``perform`` is
what commands call.
"""
