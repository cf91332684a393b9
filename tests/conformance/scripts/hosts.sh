#!/usr/bin/env bash
# Hosts for a test: network namespaces TAG1, TAG2, … at NET.1, NET.2, … and TAGc at NET.10, on one switch TAGs; port N cuts a host off.
#   hosts.sh up TAG NET COUNT     hosts.sh down TAG COUNT     hosts.sh cut|heal TAG N
set -euo pipefail
verb=$1 tag=$2
host() { # name, port name on the switch, address
    ip netns add "$1"
    ip -n "$1" link set lo up
    ip -n "$1" link add eth type veth peer name "$2" netns "${tag}s"
    ip -n "$1" addr add "$3/24" dev eth
    ip -n "$1" link set eth up
    ip -n "${tag}s" link set "$2" master bridge
    ip -n "${tag}s" link set "$2" up
}
case $verb in
up)
    ip netns add "${tag}s"
    ip -n "${tag}s" link add bridge type bridge
    ip -n "${tag}s" link set bridge up
    for n in $(seq "$4"); do host "$tag$n" "port$n" "$3.$n"; done
    host "${tag}c" portc "$3.10"
    ;;
down)
    for name in s c $(seq "$3"); do ip netns del "$tag$name" 2>/dev/null || true; done
    ;;
cut) ip -n "${tag}s" link set "port$3" down ;;
heal) ip -n "${tag}s" link set "port$3" up ;;
esac
