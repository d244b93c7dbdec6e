"""Everything on one machine: what ``oracle-vm up`` starts, keeps running and ends.

place      the folder: what it runs, and where everything in it is
files      what is written there, once: settings, keys, a configuration file for every program
programs   which programs those files describe, in the order in which they start
process    a process and the file that says which one it is: never two of one, never a stranger
restarts   how often and how soon a program that died is started again
keeper     starts, watches and ends the programs; ends when it is told to
state      what the keeper says of them, in a file
status     where everything stands, asked over the programs' own sockets
show       that for a person
tail       the programs' logs as one, readable
commands   up, status, logs, down, faucet, mine
moment     when the simulated clock of a folder is to stand
child      what a program runs in: its process file first, then the command line
"""
