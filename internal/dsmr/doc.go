// Package dsmr is the codec of the telegrams that meters send through their P1 port: DSMR 2.2 to 5.0 and their relatives, such
// as eMUCS-P1 of Belgium. A telegram is a text of lines that end with CR LF:
//
//	/ISk5\2MT382-1000                       maker, speed and identification
//	                                        an empty line
//	1-0:1.8.1(000004.426*kWh)               objects: OBIS code and values
//	0-1:24.2.1(170102161005W)(00000.107*m3) M-Bus channel 1: time and value
//	!6EEE                                   CRC-16 from '/' through '!', from DSMR 4 on
//
// Read turns a telegram into what the centre keeps. No serial port lives here.
package dsmr
