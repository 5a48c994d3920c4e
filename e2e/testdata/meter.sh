#!/usr/bin/env bash
# A meter made of mosquitto_pub, mosquitto_sub and docs/contract.md alone. It registers, sends one reading per call of
# `tick`, and answers "read", "disconnect", "reconnect" and "ping" until it is killed.
#   meter.sh HOST PORT ID REGISTER_WH
set -euo pipefail
host=$1 port=$2 id=$3 register=$4
breaker=1 # closed
sequence=0

hex8() { printf '%02x' "$1"; }
hex16() { printf '%04x' "$1"; }
hex32() { printf '%08x' "$1"; }
hex64() { printf '%016x' "$1"; }

publish() { # event qos hex
  printf '%b' "$(sed 's/../\\x&/g' <<<"$3")" |
    mosquitto_pub -h "$host" -p "$port" -i "$id-pub" -q "$2" -t "up/meter/$id/$1" -s
}

location() { # registration sequence 1, firmware 1, 30 minutes, with a breaker; keeps intervals from now on
  local now=$1
  publish location 0 "01010000$(hex32 "$now")$(hex32 1)$(hex32 1)$(hex16 30)$(hex16 1)$(hex32 $((now - now % 1800)))"
}

reading() { # time
  sequence=$((sequence + 1))
  publish reading 1 "01020000$(hex32 "$1")$(hex64 "$register")$(hex64 0)$(hex32 200)$(hex16 2300)$(hex16 $sequence)"
}

result() { # time command-id-hex opcode outcome detail
  publish result 1 "01040000$(hex32 "$1")$2$(hex8 "$3")$(hex8 "$4")$(hex8 $breaker)00$(hex32 "$5")"
}

location "$(date +%s)"
reading "$(date +%s)"

# One line per message from the centre: the topic and the payload in hexadecimal.
mosquitto_sub -h "$host" -p "$port" -i "$id" -q 1 -c -t "dn/meter/$id/#" -t 'dn/all/meter/#' -F '%t %x' |
  while read -r topic payload; do
    now=$(date +%s)
    case $topic in
    */location-ack) ;;
    */cmd)
      command=${payload:16:16}
      opcode=$((16#${payload:32:2}))
      case $opcode in
      1) reading "$now"; result "$now" "$command" 1 0 $sequence ;;
      2) result "$now" "$command" 2 0 0 ;;
      3) breaker=0; result "$now" "$command" 3 0 0 ;;
      4) breaker=1; result "$now" "$command" 4 0 0 ;;
      7) result "$now" "$command" 7 0 0 ;;
      *) result "$now" "$command" $opcode 4 0 ;;
      esac
      ;;
    esac
  done
