"""Everything on one machine: what ``oracle-vm up`` starts, keeps running and ends.

place        the folder of a group of programs, and of several groups: what and where they are
files        what is written there, once: settings, keys, a configuration file for every program
texts        the texts of those files
programs     which programs those files describe, in the order in which they start
process      a process and the file that says which one it is: never two of one, never a stranger
keeper       starts, watches and ends the programs of one group; ends when it is told to
keepers      starts and ends the keepers, each the leader of a process group
state        what a keeper says of its programs, in a file
status       where everything stands, asked over the programs' own sockets
node_status  the same of one oracle, or of the aggregator
show         that for a person
tail         the programs' logs as one, readable
commands     up, status, logs, down, faucet, mine
moment       when the simulated clock of a folder is to stand
child        what a program runs in: its process file first, then the command line
"""
