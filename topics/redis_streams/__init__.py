"""Redis Streams under Faust: stream entries come in, agents see Faust events; what they commit and produce goes out at once.

keys.py, entries.py      names of keys and the fields of an entry; import no Faust, the gateway's producer uses them too
wire.py                  one connection: many commands out in one write, as many replies back
catalogue.py             which topics exist, which groups read them, which incarnation of the transport this is
leases.py, scripts.py    who owns which partition, by the server's clock; lease_keeper.py while the event loop is busy
lane.py                  what one owned partition has read, had acknowledged and produced
transaction.py           the commit of lanes in one MULTI/EXEC, and what to do when its reply is lost; commits.py calls it
fetch.py, delivery.py    from Redis to the agents, bounded
loading.py, store.py     positions and tables of a partition that has just come
intents.py               what a sink is about to write, kept beside the ownership it depends on
ledger.py                for sinks: intents and commits of one partition
overview.py              what an operator sees
transport.py, consumer.py, producer.py, rebalance.py   the Faust side of all this
reading_positions.py, declaring.py                     parts of it: the offsets of a consumer, how topics are declared
pipelined_connection.py, stream_producer.py            the gateway's way in, and every command's
room.py                  whether Redis is too full for the gateway, or for agents
stream_store.py          topics without Faust: add, look, trim, move; group_reader.py reads as a group, acknowledges, claims
"""
