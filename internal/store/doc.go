// Package store says what the centre keeps, in terms of package cim, and leaves the how to one backend each:
// store/sqlite for one machine and store/postgres. Package store/storetest is the suite that both pass. No SQL leaks upward.
//
// Intervals are kept in two forms. A chunk is what one commit brought of one UTC day, columns packed together: cheap to
// append. A block is one device's day of one channel, delta-packed: cheap to keep and to read. The MDMS seals a day of a
// device into a block once it is over and whole, and drops the chunks of a day when all of its rows are sealed.
package store
