// Package commandsim runs the command engine of the centre and the core of the meters against each other in RAM, through a network
// that delays, loses, doubles, reorders and replays, with restarts of both and clocks that differ. A schedule is made from its
// seed alone, so that one that fails can be run again.
//
// It holds no logic of commands: what it checks is what package mdms/command and package meter do.
package commandsim
