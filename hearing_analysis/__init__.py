"""Analysis: what a speech recogniser makes of the same clips under different hearing profiles."""
