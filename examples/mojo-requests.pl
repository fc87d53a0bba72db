#!/usr/bin/perl
# A web application of Mojolicious that asks a server of Net::EasyTCP, and waits for nothing meanwhile.
#
#   perl examples/request-reply.pl server
#   perl examples/mojo-requests.pl daemon -l http://127.0.0.1:3000
#   curl 'http://127.0.0.1:3000/add?n=1&n=2'       curl 'http://127.0.0.1:3000/reverse/olleh'
#
# EASYTCP_PORT says where the server is, 2345 unless it is set. Any number of requests may be under way, over
# one connection, and replies find theirs. Needs Mojolicious.
#
# To change: the routes, each of which returns a promise.

use strict;
use warnings;

use Mojolicious::Lite -signatures;
use Net::EasyTCP;

my $client = Net::EasyTCP->new(
    mode      => 'client',
    host      => '127.0.0.1',
    port      => $ENV{EASYTCP_PORT} || 2345,
    async     => 1,
    reconnect => 1,          # the server may come and go
) or die "Cannot make the client: $@\n";
$client->setcallback(error => sub ($client, $text, @) { app->log->warn($text) })
    or die "Cannot set callbacks: $@\n";
$client->attach('Mojo') or die "Cannot attach: $@\n";

# A promise of what the server answers.
helper ask => sub ($c, $method, @arguments) {
    my $promise = $client->request_p({ method => $method, arguments => \@arguments }, timeout => 5);
    return $promise->then(sub ($reply) {
        die $reply->{error} if defined $reply->{error};
        return $reply->{result};
    });
};

# Renders the answer; what went wrong becomes a status of HTTP.
helper answer => sub ($c, $promise) {
    $c->render_later;
    $promise->then(sub ($result) { $c->render(text => "$result\n") })
        ->catch(sub ($text) { $c->render(text => "$text\n", status => 502) });
};

get '/add' => sub ($c) { $c->answer($c->ask('add', @{ $c->every_param('n') })) };

get '/reverse/:word' => sub ($c) { $c->answer($c->ask('reverse', $c->param('word'))) };

# Two at once.
get '/both/:word' => sub ($c) {
    my $both = Mojo::Promise->all($c->ask('reverse', $c->param('word')), $c->ask('time'));
    $c->answer($both->then(sub ($reverse, $time) { "$reverse->[0] at $time->[0]" }));
};

app->start;
