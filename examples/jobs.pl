#!/usr/bin/perl
# A queue of jobs. Workers ask for one, do it and bring the result; who submitted it gets that.
#
#   perl examples/jobs.pl queue [port]
#   perl examples/jobs.pl worker [host [port]]
#   perl examples/jobs.pl submit NUMBER [host [port]]      asks for the sum 1 + 2 + ... NUMBER
#
# A job whose worker disappears goes to the next one. To change: what a job is, in work(), and what is
# submitted, in submit().

use strict;
use warnings;

use Net::EasyTCP;

my %role = (queue => \&queue, worker => \&worker, submit => \&submit);
my $role = shift;
defined $role && $role{$role} or die "Usage: $0 queue|worker|submit ...\n";
$| = 1;
$role{$role}->(@ARGV);

sub queue {
    my ($port) = @_;
    my $server = Net::EasyTCP->new(
        mode         => 'server',
        port         => defined $port ? $port : 2345,
        allowclasses => 'none',
        maxmessage   => 1_000_000,
    ) or die "Cannot create the server: $@\n";

    my (@jobs, @idle);    # jobs: { id, from, job }; idle workers: serial numbers
    my %busy;             # serial number of the worker => its job
    my $count = 0;

    my $tell = sub {
        my ($serial, $message) = @_;
        my $client = $server->client($serial) or return 0;
        return eval { $client->send($message) } ? 1 : 0;
    };
    my $assign = sub {
        while (@jobs && @idle) {
            my ($worker, $job) = (shift @idle, shift @jobs);
            if ($tell->($worker, { id => $job->{id}, job => $job->{job} })) { $busy{$worker} = $job }
            else                                                            { unshift @jobs, $job }
        }
    };
    my %on = (
        submit => sub {
            my ($serial, $message) = @_;
            push @jobs, { id => ++$count, from => $serial, job => $message->{job} };
        },
        ready => sub { push @idle, $_[0] },
        done  => sub {
            my ($serial, $message) = @_;
            my $job = delete $busy{$serial} or return;
            $tell->($job->{from}, { result => $message->{result} });
            push @idle, $serial;
        },
    );
    $server->setcallback(
        data => sub {
            my $client  = shift;
            my $message = $client->data;
            my $code = ref $message eq 'HASH' && $on{ $message->{type} || '' } or return $client->close;
            $code->($client->serial, $message);
            $assign->();
        },
        disconnect => sub {
            my $serial = $_[0]->serial;
            @idle = grep { $_ != $serial } @idle;
            unshift @jobs, delete $busy{$serial} if $busy{$serial};
            $assign->();
        },
    ) or die "Cannot set callbacks: $@\n";

    print 'Listening on port ', $server->port, "\n";
    $server->start or die "The server failed: $@\n";
}

sub connection {
    my ($host, $port) = @_;
    return Net::EasyTCP->new(
        mode         => 'client',
        host         => defined $host ? $host : 'localhost',
        port         => defined $port ? $port : 2345,
        allowclasses => 'none',
        raiseerror   => 1,            # failures die: this is a short program
    );
}

sub worker {
    my $client = connection(@_);
    $client->send({ type => 'ready' });
    print "Ready\n";
    for (;;) {
        my $message = $client->receive(86_400);
        $client->send({ type => 'done', result => work($message->{job}) });
        print "Did job $message->{id}\n";
    }
}

sub work {
    my $job = shift;
    my $sum = 0;
    $sum += $_ for 1 .. $job->{number};
    return $sum;
}

sub submit {
    my ($number, @address) = @_;
    my $client = connection(@address);
    $client->send({ type => 'submit', job => { number => $number } });
    print 'The result is ', $client->receive->{result}, "\n";
    $client->close;
}
