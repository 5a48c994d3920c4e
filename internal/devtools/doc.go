// Package devtools drives a headless Chromium by its DevTools protocol: for tests of the console in a real browser, and for
// measurements of it.
//
// What lives here: the connection, pages, and what a page is asked. What may not: anything about the pages that are looked at,
// and starting the browser, which is up to who must end it.
package devtools
