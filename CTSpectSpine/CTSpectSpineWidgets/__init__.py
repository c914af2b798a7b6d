"""The sections of the module's panel: with ``CTSpectSpine.py`` the only files that know Qt.

Each section takes the panel (`CTSpectSpine.CTSpectSpineWidget`), connects its own widgets of the
``.ui`` file, and shows what the panel tells it to. None of them computes anything.
"""
