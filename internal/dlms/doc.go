// Package dlms is the codec of what DLMS/COSEM meters push: a Data-Notification (IEC 62056-5-3, clause 9.3.10), bare or inside a
// general-glo-ciphering APDU of security suite 0, 1 or 2 (AES-128 or AES-256 in Galois/counter mode, clause 9.2.7), plain, behind the wrapper of
// IEC 62056-47, or in frames of HDLC; in blocks, too, if all of them are in one message:
//
//	00 01 00 66 00 66 00 4E          wrapper: version, source and destination port, length
//	DB                               general-glo-ciphering
//	   08 4D 4D 4D 00 00 BC 61 4E    system title of the meter
//	   3F                            length of what follows
//	   30                            security control: encrypted and authenticated, suite 0
//	   01 23 45 67                   invocation counter
//	   …                             ciphertext
//	   … 12 octets                   authentication tag
//
//	0F                               data-notification, what was enciphered
//	   00 00 00 01                   long invoke id and priority
//	   0C 07 EA 0B 1D …              date and time, or 00 for none
//	   02 03 …                       the notification's body, a Data
//
// Cipher opens the envelope, Notification is the message, Value the data in it, and a Layout says which attributes of which
// objects the data are; meters that name their objects in the body need none. Read turns a notification into what the centre
// keeps. Associations, GET, SET and ACTION are not in here: a push needs none of them.
package dlms
