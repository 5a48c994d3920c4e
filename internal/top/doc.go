// Package top is the picture of `wattbus top`: what is shown, in which order, and what a key does to it. A frame is a list of
// lines for a width and a height, made from the shapes of the HTTP API.
//
// What may not live here: the terminal (package screen), asking the centre.
package top
