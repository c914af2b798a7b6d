"""TotalSegmentator as a labeller, in a process and an environment of its own."""
