// Package stomp is a client of STOMP 1.2, the text protocol by which message brokers such as ActiveMQ and Artemis serve programs that
// are not written in Java. It knows frames and connections; what messages mean is known by others.
package stomp
