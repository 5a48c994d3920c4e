// Package dirlock keeps two processes from using one data directory at once. It holds nothing but that.
package dirlock
