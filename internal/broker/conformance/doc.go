// Package conformance checks an MQTT server against every normative clause of MQTT
// 3.1.1 and MQTT 5 that concerns a server. It has tests only.
//
// What lives here: a table of the clauses of each version (v311_*_test.go,
// v5_*_test.go), one line each with its number, what it asks for in our words and
// the test, and a client that says exactly the bytes the test wants said. A clause
// that forbids something has the forbidden thing sent. What may not: the codec and
// the insides of the broker; a fault in them must not hide itself here.
//
// The tests run against the broker of this tree, or against any other one:
//
//	WATTBUS_CONFORMANCE_ADDR=127.0.0.1:1883 go test ./internal/broker/conformance
//
// Tests of the clauses that need a special configuration (an access control list,
// small bounds) are then skipped. Client ids and topics are new in each run.
//
// Paho's public interoperability suites run from here too, against a broker that is
// started for them or against another one. In front of them they want one that refuses
// something, allows only short keep alives and takes few messages at once:
//
//	echo 'topic readwrite #' > rules
//	wattbus broker --acl rules --acl-reticent --allow-anonymous --max-keep-alive 60s --receive-maximum 20
//
//	WATTBUS_PAHO_SUITE=paho.mqtt.testing/interoperability WATTBUS_CONFORMANCE_ADDR=127.0.0.1:1883 \
//		go test -v -count 1 -run TestPahoSuites ./internal/broker/conformance
//
// TestClauses keeps the tables honest: no gaps in the numbers, no clause of a server
// without a test or a reason, none that no line of the code is tagged with,
// and no clause tag in the code that is in no table. With -v it lists the reasons.
package conformance
