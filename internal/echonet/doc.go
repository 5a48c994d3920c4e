// Package echonet is the codec of ECHONET Lite frames (format 1) and of the properties of class 0x0288, low-voltage smart
// electric energy meter, which Japanese meters speak on their "B route". Read turns a frame into what the centre keeps.
//
// All numbers are big-endian, times are Japan Standard Time (UTC+9, no summer time). Energy is counts × coefficient (D3) × unit
// (E1), reckoned in integers of 0.1 Wh. An error says which property is at fault and at which offset.
//
// No transport lives here: UDP, Wi-SUN and who asks whom are somebody else's.
package echonet
