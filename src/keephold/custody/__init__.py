"""Custody of the MasterKey: nobody has it, a committee can use it, a part of the committee can hand it on."""
