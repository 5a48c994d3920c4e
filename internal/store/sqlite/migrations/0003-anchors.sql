-- From here on blocks may have anchors and joined intervals, which older programs do not know. The id is "WATB".
PRAGMA application_id = 1463899202;
