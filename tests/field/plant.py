"""A whole demo's job against foreign devices: OPC UA by asyncua, Modbus by pymodbus, with maps written by hand."""

import compare
from foreign_line import CASE, PALLET, ForeignLine
from stage import claim


def whole_job(house):
    """a batch on a foreign line: every conforming unit commissioned, every full case and pallet closed, nothing wrong in any"""
    house.count("a line of foreign devices")
    good = 200 if house.is_full else 80
    line = ForeignLine(house, "whole-job", good, plant_options=["--jam", "3"])
    line.begin()
    line.wait_passed(good)
    line.finish(good // (CASE * PALLET))
    story, text = compare.all_of_it(line, (CASE, PALLET))
    kinds = set(story.spoiled)
    claim(len(kinds) >= 4, f"the plant spoiled only {kinds}")
    claim(len(line.events("jammed")) == 1, "no seal failed")
    return text


STEPS = (whole_job,)
